"""Precomputed features: files are found, read, matched with the manifest and packed."""

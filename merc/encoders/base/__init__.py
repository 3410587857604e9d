"""Shared by all encoders: the interface, the registry, construction by name, tuned weights, feature packs."""

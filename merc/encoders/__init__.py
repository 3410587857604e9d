"""Encoders: words, sound or face to a sequence of feature vectors; a sub-package a modality."""

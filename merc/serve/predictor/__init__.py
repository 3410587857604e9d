"""Prediction on new recordings, from media files to probabilities."""

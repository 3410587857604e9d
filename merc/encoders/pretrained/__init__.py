"""Pretrained weights: the catalogue, sources, loading, and transcription by Whisper."""

"""Pretrained weights: sources, loading, and transcription by Whisper."""

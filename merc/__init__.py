"""Emotion recognition in conversations from text, audio and video. One package a concern."""

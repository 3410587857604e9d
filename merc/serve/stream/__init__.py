"""Streaming prediction from a microphone and camera, a pipe, or a recording at its own pace."""

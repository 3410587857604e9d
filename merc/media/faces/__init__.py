"""Face detection and face tracking."""

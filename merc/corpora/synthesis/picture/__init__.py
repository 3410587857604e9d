"""Video of the bundled corpus: drawn faces and rooms, encoded as .mp4."""

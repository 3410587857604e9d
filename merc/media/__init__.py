"""From clips to sound and pictures: decoding, voice activity, faces, word times, extraction."""

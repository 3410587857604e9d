"""Audio of the bundled corpus: espeak-ng voices with emotional prosody."""

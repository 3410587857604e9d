"""Extraction of a corpus: one wav, one portrait, face tracks and word times per utterance; settings and report."""

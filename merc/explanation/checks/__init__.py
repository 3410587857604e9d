"""Evaluation of attributions: deletion, randomisation, ground truth, agreement."""

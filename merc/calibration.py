"""Calibration on dev: a temperature that makes probabilities honest, a threshold that makes label sets cover."""

import math

import numpy as np

from merc.results import DECIMALS

COVERAGE = 0.9  # share of utterances whose set of labels is to hold the true one
WIDEST = 4.0  # temperatures are looked for between exp(-WIDEST) and exp(WIDEST)
PRECISION = 1e-6  # of the temperature's logarithm
TEMPERATURE, THRESHOLD = "temperature", "threshold"


def fit(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Temperature and threshold from (N, C) logits and (N,) labels; rows without a label are left out."""
    known = labels >= 0
    if not known.any():  # nothing to learn from: probabilities as they are, every label in every set
        return {TEMPERATURE: 1.0, THRESHOLD: 0.0}
    temperature = _temperature(logits[known], labels[known])
    probabilities = _softmax(logits[known] / temperature)
    return {TEMPERATURE: temperature, THRESHOLD: _threshold(probabilities, labels[known])}


def apply(logits: np.ndarray, calibration: dict[str, float]) -> np.ndarray:
    """Probabilities (..., C)."""
    return _softmax(logits / calibration[TEMPERATURE])


def members(probabilities: np.ndarray, calibration: dict[str, float]) -> np.ndarray:
    """(..., C) bool: the labels that are too probable to rule out, the most probable one always among them."""
    return (probabilities >= calibration[THRESHOLD]) | (probabilities == probabilities.max(-1, keepdims=True))


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What the logits must be divided by for the smallest mean negative log likelihood (Guo et al. 2017).

    The likelihood has one optimum in it, so halving the interval by its slope finds it.
    """
    wide, true = logits.astype(np.float64), np.arange(len(labels))
    low, high = -WIDEST, WIDEST
    while high - low > PRECISION:
        middle = (low + high) / 2
        probabilities = _softmax(wide / math.exp(middle))
        too_sure = (probabilities * wide).sum(1).mean() > wide[true, labels].mean()
        low, high = (middle, high) if too_sure else (low, middle)
    return math.exp((low + high) / 2)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Split conformal (Sadinle et al. 2019): the ceil((n + 1) coverage)-th largest probability of a true label."""
    true = np.sort(probabilities[np.arange(len(labels)), labels])[::-1]
    rank = math.ceil((len(true) + 1) * COVERAGE)
    threshold = float(true[rank - 1]) if rank <= len(true) else 0.0
    return math.floor(threshold * 10**DECIMALS) / 10**DECIMALS  # as the file keeps it; never above what was found

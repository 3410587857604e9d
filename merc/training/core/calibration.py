"""Calibration on dev: temperature scaling of the probabilities and a conformal threshold for label sets."""

import math

import numpy as np

from merc.runtime.results import DECIMALS

COVERAGE = 0.9  # target fraction of utterances whose label set contains the true label
MAX_LOG_TEMPERATURE = 4.0  # temperatures are searched between exp(-4) and exp(4)
LOG_TEMPERATURE_TOLERANCE = 1e-6  # tolerance of the temperature's logarithm
TEMPERATURE, THRESHOLD = "temperature", "threshold"


def fit(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Temperature and threshold from (N, C) logits and (N,) labels; rows without a label (negative) are ignored."""
    is_labelled = labels >= 0
    if not is_labelled.any():  # no data: unscaled probabilities, all labels in every set
        return {TEMPERATURE: 1.0, THRESHOLD: 0.0}
    temperature = _temperature(logits[is_labelled], labels[is_labelled])
    probabilities = _softmax(logits[is_labelled] / temperature)
    return {TEMPERATURE: temperature, THRESHOLD: _threshold(probabilities, labels[is_labelled])}


def apply(logits: np.ndarray, calibration: dict[str, float]) -> np.ndarray:
    """Calibrated probabilities (..., C)."""
    return _softmax(logits / calibration[TEMPERATURE])


def label_sets(probabilities: np.ndarray, calibration: dict[str, float]) -> np.ndarray:
    """(..., C) bool label sets: the labels that reach the threshold, and always the most probable one."""
    return (probabilities >= calibration[THRESHOLD]) | (probabilities == probabilities.max(-1, keepdims=True))


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The divisor of the logits with the smallest mean negative log-likelihood (Guo et al. 2017).

    The likelihood has a single optimum, so bisection by the sign of its slope finds it.
    """
    logits64, rows = logits.astype(np.float64), np.arange(len(labels))
    low, high = -MAX_LOG_TEMPERATURE, MAX_LOG_TEMPERATURE
    while high - low > LOG_TEMPERATURE_TOLERANCE:
        middle = (low + high) / 2
        probabilities = _softmax(logits64 / math.exp(middle))
        is_overconfident = (probabilities * logits64).sum(1).mean() > logits64[rows, labels].mean()
        low, high = (middle, high) if is_overconfident else (low, middle)
    return math.exp((low + high) / 2)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Split conformal threshold (Sadinle et al. 2019): the ceil((n + 1) coverage)-th largest true probability."""
    true_probabilities = np.sort(probabilities[np.arange(len(labels)), labels])[::-1]
    rank = math.ceil((len(true_probabilities) + 1) * COVERAGE)
    threshold = float(true_probabilities[rank - 1]) if rank <= len(true_probabilities) else 0.0
    return math.floor(threshold * 10**DECIMALS) / 10**DECIMALS  # rounded down to the decimals of the file

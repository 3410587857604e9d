"""Calibration on dev: temperatures of probabilities, a threshold for label sets, a width for intervals of numbers.

A classification has a temperature and a conformal threshold; a multilabel task a temperature for each class; a
regression the half width of a conformal interval.
"""

import math
from typing import Any

import numpy as np

from merc.data.records.labels import Task
from merc.runtime.results import DECIMALS

COVERAGE = 0.9  # target fraction of utterances whose label set contains the true label
MAX_LOG_TEMPERATURE = 4.0  # temperatures are searched between exp(-4) and exp(4)
LOG_TEMPERATURE_TOLERANCE = 1e-6  # tolerance of the temperature's logarithm
TEMPERATURE, THRESHOLD, TEMPERATURES, HALF_WIDTH = "temperature", "threshold", "temperatures", "half_width"
UNSEEN = -1e3  # a logit below it is that of a class that training never showed; no temperature makes it likely
Calibration = dict[str, Any]


def fit_task(task: Task, outputs: np.ndarray, targets: np.ndarray) -> Calibration:
    """The calibration of a task of any kind from a network's (N, C) outputs on dev."""
    if task.kind == "regression":
        return {HALF_WIDTH: _half_width(outputs[:, 0], targets, task)}
    if task.kind == "multilabel":
        return {TEMPERATURES: [_binary_temperature(*pair) for pair in zip(outputs.T, targets.T, strict=True)]}
    return fit(outputs, targets)


def fit(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Temperature and threshold from (N, C) logits and (N,) labels; rows without a label (negative) are ignored."""
    is_labelled = labels >= 0
    answerable = is_labelled.copy()
    answerable[is_labelled] = logits[is_labelled, labels[is_labelled]] > UNSEEN
    if not is_labelled.any():  # no data: unscaled probabilities, all labels in every set
        return {TEMPERATURE: 1.0, THRESHOLD: 0.0}
    temperature = _temperature(logits[answerable], labels[answerable]) if answerable.any() else 1.0
    probabilities = _softmax(logits[is_labelled] / temperature)
    return {TEMPERATURE: temperature, THRESHOLD: _threshold(probabilities, labels[is_labelled])}


def apply(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Calibrated probabilities (..., C) of a classification or multilabel task."""
    if TEMPERATURES in calibration:
        return sigmoid(logits / np.array(calibration[TEMPERATURES], logits.dtype))
    return _softmax(logits / calibration[TEMPERATURE])


def intervals(values: np.ndarray, calibration: Calibration, task: Task) -> np.ndarray:
    """(..., 2) the conformal interval of each number (...), within the range."""
    half = calibration[HALF_WIDTH]
    return np.stack([values - half, values + half], -1).clip(task.low, task.high)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp -x), without overflow."""
    powers = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + powers), powers / (1 + powers))


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


def _binary_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The temperature of one class's yes and no; 1 where dev shows only one of them."""
    labelled = np.isfinite(target) & (logits > UNSEEN)
    labels = target[labelled].astype(np.int64)
    if len(np.unique(labels)) < 2:
        return 1.0
    return _temperature(np.stack([np.zeros_like(logits[labelled]), logits[labelled]], 1), labels)


def _half_width(values: np.ndarray, target: np.ndarray, task: Task) -> float:
    """Split conformal half width (Lei et al. 2018): the ceil((n + 1) coverage)-th smallest error."""
    errors = np.sort(np.abs(values.clip(task.low, task.high) - target)[np.isfinite(target)])
    rank = math.ceil((len(errors) + 1) * COVERAGE)
    half_width = float(errors[rank - 1]) if rank <= len(errors) else task.high - task.low
    return math.ceil(half_width * 10**DECIMALS) / 10**DECIMALS  # rounded up to the decimals of the file


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Split conformal threshold (Sadinle et al. 2019): the ceil((n + 1) coverage)-th largest true probability."""
    true_probabilities = np.sort(probabilities[np.arange(len(labels)), labels])[::-1]
    rank = math.ceil((len(true_probabilities) + 1) * COVERAGE)
    threshold = float(true_probabilities[rank - 1]) if rank <= len(true_probabilities) else 0.0
    return math.floor(threshold * 10**DECIMALS) / 10**DECIMALS  # rounded down to the decimals of the file

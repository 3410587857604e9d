"""Calibration measures, risk-coverage curves and conformal sets, from (S, N, C) arrays of probabilities.

ECE with equal mass: Nixon et al., 2019 (arXiv:1904.01685). Risk and coverage: Geifman and El-Yaniv, 2017
(arXiv:1705.08500). Conformal sets: Sadinle, Lei and Wasserman, 2019 (doi:10.1080/01621459.2017.1395341).
"""

from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions

BINS = 10  # of equal mass; 25 utterances each on the sample
MIN_PROBABILITY = 1e-12  # bound of the true label's probability: the log loss of 0 is infinite


def calibration_measures(predictions: Predictions, task: str, model: str) -> dict[str, object]:
    """Means over seeds; `_raw` before calibration; coverage by class shows which classes the sets miss."""
    actual, labelled, kind = predictions.actual(task), predictions.labelled(task), predictions.task(task).kind
    if task not in predictions.outputs or not labelled.any():
        return {}
    if kind == "regression":
        interval = predictions.values(task, model, [FULL], "interval")[:, 0, labelled]
        return interval_measures(interval, actual[labelled])
    if kind == "multilabel":
        parts = {
            part: predictions.values(task, model, [FULL], part)[:, 0, labelled] for part in ("probability", "raw")
        }
        calibrated, raw = (binary_measures(each, actual[labelled] > 0) for each in parts.values())
        return calibrated | {f"{name}_raw": value for name, value in raw.items()}
    parts = {
        part: predictions.values(task, model, [FULL], part)[:, 0, labelled]
        for part in ("raw", "probability", "set")
    }
    calibrated = calibration_scores(parts["probability"], actual[labelled])
    raw = {f"{name}_raw": value for name, value in calibration_scores(parts["raw"], actual[labelled]).items()}
    return calibrated | raw | conformal(parts["set"], actual[labelled], predictions.classes[task])


def calibration_scores(probability: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Of (S, N, C) probabilities: ECE, classwise ECE, Brier score, log loss, area under risk and coverage."""
    truth = actual[:, None] == np.arange(probability.shape[-1])  # (N, C)
    correct = probability.argmax(-1) == actual
    true_probability = np.take_along_axis(probability, np.broadcast_to(actual[:, None], (*correct.shape, 1)), -1)
    gaps = [ece(probability[..., c], np.broadcast_to(truth[:, c], correct.shape)) for c in range(truth.shape[1])]
    return {
        "ece": float(ece(probability.max(-1), correct).mean()),
        "classwise_ece": float(np.mean(gaps)),
        "brier": float(((probability - truth) ** 2).sum(-1).mean()),
        "nll": float(-np.log(np.maximum(true_probability, MIN_PROBABILITY)).mean()),
        "aurc": float(risk(probability.max(-1), correct).mean()),
    }


def binary_measures(probability: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    """Of (S, N, C) probabilities that each class holds, (N, C) whether it does: means over the classes."""
    holds = np.broadcast_to(truth, probability.shape)
    likelihood = np.where(holds, probability, 1 - probability)
    gaps = [ece(probability[..., c], holds[..., c]) for c in range(truth.shape[1])]
    return {
        "classwise_ece": float(np.mean(gaps)),
        "brier": float(((probability - holds) ** 2).mean()),
        "nll": float(-np.log(np.maximum(likelihood, MIN_PROBABILITY)).mean()),
    }


def interval_measures(interval: np.ndarray, actual: np.ndarray) -> dict[str, object]:
    """How often the (S, N, 2) intervals contain the number, and their mean width."""
    inside = (interval[..., 0] <= actual) & (actual <= interval[..., 1])
    return {"coverage": float(inside.mean()), "width": float((interval[..., 1] - interval[..., 0]).mean())}


def jensen_shannon(predictions: Predictions, task: str, model: str) -> float:
    """Mean Jensen-Shannon divergence (in nats, at most 0.693) of the probabilities from the annotators' votes."""
    votes = predictions.votes[task]
    voted = ~np.isnan(votes).any(1)
    if not voted.any():
        return np.nan
    probability = predictions.values(task, model, [FULL])[:, 0, voted]
    # scipy returns the square root of the divergence
    shares = np.broadcast_to(votes[voted], probability.shape)
    distance = cast("Any", jensenshannon)(probability, shares, axis=-1)  # its stub lacks the axis
    return float((distance**2).mean())


def ece(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """(S,) mean distance between confidence and accuracy over bins of equal mass, of (S, N) arrays."""
    mean_confidence, accuracy, counts = bins(confidence, correct)
    return (np.abs(mean_confidence - accuracy) * counts).sum(-1) / counts.sum()


def bins(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence (S, B), accuracy (S, B) and size (B,) of bins of equal mass, by increasing confidence."""
    order = np.argsort(confidence, axis=-1, kind="stable")
    count = confidence.shape[-1]
    edges = np.linspace(0, count, min(BINS, count) + 1).astype(int)
    sizes = np.diff(edges)
    sums = [
        np.add.reduceat(np.take_along_axis(values, order, -1).astype(float), edges[:-1], axis=-1)
        for values in (confidence, correct)
    ]
    return sums[0] / sizes, sums[1] / sizes, sizes


def risk(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """(S, N) the error rate among the 1, 2, ... N utterances with the highest confidence."""
    order = np.argsort(-confidence, axis=-1, kind="stable")
    errors = ~np.take_along_axis(correct, order, -1)
    return errors.cumsum(-1) / np.arange(1, errors.shape[-1] + 1)


def conformal(members: np.ndarray, actual: np.ndarray, order: tuple[str, ...]) -> dict[str, object]:
    """How often the (S, N, C) sets contain the actual label, overall and by class, and their mean size."""
    covered = np.take_along_axis(members, np.broadcast_to(actual[:, None], (*members.shape[:2], 1)), -1)[..., 0]
    by_class = {
        name: covered[:, actual == c].mean() if (actual == c).any() else np.nan for c, name in enumerate(order)
    }
    return {"coverage": covered.mean(), "set_size": members.sum(-1).mean(), "coverage_by_class": by_class}


def reliability_diagram(predictions: Predictions, task: str, models: list[str]) -> pd.DataFrame:
    """Reliability diagram, a row per bin, seeds pooled: mean confidence, accuracy and count."""
    return pd.concat([_diagram(predictions, task, model) for model in models], ignore_index=True)


def _diagram(predictions: Predictions, task: str, model: str) -> pd.DataFrame:
    confidence, correct = _confidence(predictions, task, model)
    mean_confidence, accuracy, sizes = bins(confidence.reshape(1, -1), correct.reshape(1, -1))
    return pd.DataFrame({"model": model, "confidence": mean_confidence[0], "correct": accuracy[0], "count": sizes})


def coverage_curve(predictions: Predictions, task: str, models: list[str]) -> pd.DataFrame:
    """Risk by coverage in steps of 5 %, a column per model, means over seeds."""
    coverage = np.arange(1, 21) / 20
    table = pd.DataFrame({"coverage": coverage})
    for model in models:
        risks = risk(*_confidence(predictions, task, model)).mean(0)
        last = np.maximum(np.round(coverage * len(risks)).astype(int), 1) - 1
        table[model] = risks[last] if len(risks) else np.nan
    return table


def _confidence(predictions: Predictions, task: str, model: str) -> tuple[np.ndarray, np.ndarray]:
    """(S, N) confidence and correctness of the labelled utterances; (1, 0) if the task has no head.

    Of a multilabel task (S, N C) each class's probability, and whether it holds.
    """
    actual, labelled = predictions.actual(task), predictions.labelled(task)
    if task not in predictions.outputs:
        return np.zeros((1, 0)), np.zeros((1, 0), bool)
    if predictions.task(task).kind == "multilabel":
        probability = predictions.values(task, model, [FULL])[:, 0, labelled]
        holds = np.broadcast_to(actual[labelled] > 0, probability.shape)
        return probability.reshape(len(probability), -1), holds.reshape(len(holds), -1)
    probability = predictions.values(task, model, [FULL])[:, 0, actual >= 0]
    return probability.max(-1), probability.argmax(-1) == actual[actual >= 0]

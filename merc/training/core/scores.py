"""Classification metrics from confusion matrices, equal to scikit-learn's; vectorised over leading axes."""

import math

import numpy as np

from merc.data.records.selection import METRICS

HEADLINE_METRICS = METRICS["classification"]


def scores(actual: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    """The headline scores of (N,) predictions; rows without a label (negative) are ignored, nan if all are."""
    summary = summarise(confusion(actual, predicted, classes))
    return {name: float(summary[name]) for name in HEADLINE_METRICS}


def confusion(actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(..., C, C) confusion counts, a row per actual class, of (N,) labels and (..., N) predictions."""
    return grouped_confusion(actual, predicted, np.zeros(len(actual), np.int64), 1, classes)[..., 0, :, :]


def grouped_confusion(
    actual: np.ndarray, predicted: np.ndarray, group: np.ndarray, groups: int, classes: int
) -> np.ndarray:
    """(..., G, C, C) confusion counts of each group's rows, which the bootstrap multiplies with its weights."""
    labelled = actual >= 0
    cells = (group[labelled] * classes + actual[labelled]) * classes + predicted[..., labelled]
    flat_cells, size = cells.reshape(math.prod(predicted.shape[:-1]), labelled.sum()), groups * classes * classes
    block_offsets = np.arange(len(flat_cells))[:, None] * size
    counts = np.bincount((flat_cells + block_offsets).ravel(), minlength=len(flat_cells) * size)
    return counts.reshape(*predicted.shape[:-1], groups, classes, classes)


def summarise(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Every score of (..., C, C) counts, which may be weighted; nan where all counts are 0."""
    classes = per_class(matrix)
    total = classes["support"].sum(-1)
    occurs = classes["support"] > 0  # in the reference: a class that is only answered has no recall to average
    return {
        "accuracy": safe_ratio(np.trace(matrix, axis1=-2, axis2=-1), total),
        "weighted_f1": safe_ratio((classes["f1"] * classes["support"]).sum(-1), total),
        "macro_f1": safe_ratio(classes["f1"].sum(-1), occurs.sum(-1)),  # f1 is 0 where a class does not occur
        "uar": safe_ratio(classes["recall"].sum(-1), occurs.sum(-1)),
        "weighted_precision": safe_ratio((classes["precision"] * classes["support"]).sum(-1), total),
    }


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """(..., C) precision, recall and F1, 0 where undefined, with the counts of actual and predicted rows."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, predicted = matrix.sum(-1), matrix.sum(-2)
    return {
        "precision": safe_ratio(hits, predicted, undefined=0.0),
        "recall": safe_ratio(hits, support, undefined=0.0),
        "f1": safe_ratio(2 * hits, support + predicted, undefined=0.0),
        "support": support,
        "predicted": predicted,
    }


def safe_ratio(numerator: np.ndarray, denominator: np.ndarray, undefined: float = np.nan) -> np.ndarray:
    """numerator / denominator, and `undefined` where the denominator is 0."""
    denominator = np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, undefined), where=denominator > 0)

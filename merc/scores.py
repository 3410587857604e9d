"""Scores from confusion matrices, equal to scikit-learn's; any leading axes (rounds, seeds) are scored at once."""

import math

import numpy as np

HEADLINE = ("accuracy", "weighted_f1", "macro_f1", "uar")


def scores(actual: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    """The headline scores of (N,) predictions; rows without a label (negative) are left out, and nan if all are."""
    measured = summarise(confusion(actual, predicted, classes))
    return {name: float(measured[name]) for name in HEADLINE}


def confusion(actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) counts, a row an actual class, of (N,) labels; leading axes of `predicted` (..., N) are kept."""
    return grouped_confusion(actual, predicted, np.zeros(len(actual), np.int64), 1, classes)[..., 0, :, :]


def grouped_confusion(
    actual: np.ndarray, predicted: np.ndarray, group: np.ndarray, groups: int, classes: int
) -> np.ndarray:
    """(..., G, C, C) counts of each group's rows: the bootstrap multiplies its weights with these."""
    labelled = actual >= 0
    cell = (group[labelled] * classes + actual[labelled]) * classes + predicted[..., labelled]
    flat, size = cell.reshape(math.prod(predicted.shape[:-1]), labelled.sum()), groups * classes * classes
    block = np.arange(len(flat))[:, None] * size
    counts = np.bincount((flat + block).ravel(), minlength=len(flat) * size)
    return counts.reshape(*predicted.shape[:-1], groups, classes, classes)


def summarise(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Every score of (..., C, C) counts, which may be weighted; nan where nothing was counted."""
    each = per_class(matrix)
    total = each["support"].sum(-1)
    seen = (each["support"] > 0) | (each["predicted"] > 0)
    return {
        "accuracy": ratio(np.trace(matrix, axis1=-2, axis2=-1), total),
        "weighted_f1": ratio((each["f1"] * each["support"]).sum(-1), total),
        "macro_f1": ratio(each["f1"].sum(-1), seen.sum(-1)),  # over classes that occur or are predicted
        "uar": ratio(each["recall"].sum(-1), (each["support"] > 0).sum(-1)),  # over classes that occur
        "weighted_precision": ratio((each["precision"] * each["support"]).sum(-1), total),
    }


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """(..., C) precision, recall and F1, 0 where undefined, with the counts they rest on."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, predicted = matrix.sum(-1), matrix.sum(-2)
    return {
        "precision": ratio(hits, predicted, undefined=0.0),
        "recall": ratio(hits, support, undefined=0.0),
        "f1": ratio(2 * hits, support + predicted, undefined=0.0),
        "support": support,
        "predicted": predicted,
    }


def ratio(above: np.ndarray, below: np.ndarray, undefined: float = np.nan) -> np.ndarray:
    """above / below, and `undefined` where below is 0."""
    below = np.asarray(below, float)
    return np.divide(above, below, out=np.full(below.shape, undefined), where=below > 0)

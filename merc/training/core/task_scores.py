"""The scores of a task of any kind, from counts and sums that add up over groups of utterances.

Vectorised over leading axes: the bootstrap multiplies the sums of each group with its weights and scores 1,000
rounds at once, which no library does. tests/test_task_scores.py compares with scikit-learn's and scipy's.
"""

from dataclasses import dataclass

import numpy as np

from merc.data.records.labels import Kind, Task
from merc.data.records.selection import METRICS
from merc.training.core import scores
from merc.training.core.scores import safe_ratio

SENTIMENT_RANGE = (-3.0, 3.0)  # of CMU-MOSI and CMU-MOSEI, for which Acc-5 and Acc-7 are defined


@dataclass(frozen=True)
class ClassScores:
    """One class of several: from confusion counts (C, C), a row per actual class."""

    task: Task
    kind: Kind = "classification"

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """(..., N) the most probable class of logits or probabilities (..., N, C)."""
        return outputs.argmax(-1)

    def sums(self, actual: np.ndarray, predicted: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
        """(..., G, C, C) of (N,) labels and (..., N) answers."""
        return scores.grouped_confusion(actual, predicted, group, groups, len(self.task.classes))

    def summarise(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Every score of (..., C, C)."""
        return scores.summarise(sums)

    def per_class(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """(..., C) precision, recall, F1 and support."""
        return scores.per_class(sums)


@dataclass(frozen=True)
class LabelSetScores:
    """Any number of classes: from (C + 1, 4), for each class the right and wrong yes, the wrong and right no.

    The last row counts utterances with every class right, and utterances.
    """

    task: Task
    kind: Kind = "multilabel"

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """(..., N, C) bool: the classes with a logit above 0."""
        return outputs > 0

    def sums(self, actual: np.ndarray, predicted: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
        """(..., G, C + 1, 4) of (N, C) labels, NaN without, and (..., N, C) bool answers."""
        labelled = ~np.isnan(actual).any(1)
        truth, said = actual[labelled] > 0, predicted[..., labelled, :]
        cells = np.stack([truth & said, ~truth & said, truth & ~said, ~truth & ~said], -1)  # (..., N, C, 4)
        right = (truth == said).all(-1)
        rows = np.stack([right, np.ones_like(right), np.zeros_like(right), np.zeros_like(right)], -1)
        cells = np.concatenate([cells, rows[..., None, :]], -2).astype(np.int64)
        return _by_group(cells, cells.ndim - 3, group[labelled], groups)

    def summarise(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Every score of (..., C + 1, 4); the macro F1 is over the classes that occur."""
        classes, right, total = self.per_class(sums), sums[..., -1, 0], sums[..., -1, 1]
        occurs = classes["support"] > 0
        hits = sums[..., :-1, 0] + sums[..., :-1, 3]
        return {
            "accuracy": safe_ratio(hits.mean(-1), total),
            "subset_accuracy": safe_ratio(right, total),
            "weighted_f1": safe_ratio((classes["f1"] * classes["support"]).sum(-1), classes["support"].sum(-1)),
            "macro_f1": safe_ratio(classes["f1"].sum(-1), occurs.sum(-1)),
        }

    def per_class(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """(..., C) precision, recall, F1 and support."""
        yes, wrong_yes, wrong_no = (sums[..., :-1, column] for column in range(3))
        return {
            "precision": safe_ratio(yes, yes + wrong_yes, undefined=0.0),
            "recall": safe_ratio(yes, yes + wrong_no, undefined=0.0),
            "f1": safe_ratio(2 * yes, 2 * yes + wrong_yes + wrong_no, undefined=0.0),
            "support": yes + wrong_no,
            "predicted": yes + wrong_yes,
        }


@dataclass(frozen=True)
class NumberScores:
    """A number: from (17,): count, y, p, y^2, p^2, y p, |y - p|, hits of 7 and of 5 classes, two 2 x 2 confusions.

    y and p are measured from the middle of the range, so that the sums of squares lose no digits.
    """

    task: Task
    kind: Kind = "regression"

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """(..., N) of outputs (..., N, 1), within the range."""
        return outputs[..., 0].clip(self.task.low, self.task.high)

    def sums(self, actual: np.ndarray, predicted: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
        """(..., G, 17) of (N,) numbers, NaN without, and (..., N) answers."""
        labelled = ~np.isnan(actual)
        truth, said = np.broadcast_arrays(actual[labelled].astype(float), predicted[..., labelled].astype(float))
        middle = (self.task.low + self.task.high) / 2
        y, p = truth - middle, said - middle
        columns = [np.ones_like(y), y, p, y * y, p * p, y * p, np.abs(y - p)]
        columns += [_rounded(truth, most) == _rounded(said, most) for most in (3, 2)]
        for counted, is_positive in (
            (np.ones_like(truth, dtype=bool), (truth >= 0, said >= 0)),
            (truth != 0, (truth > 0, said > 0)),
        ):
            cells = 2 * is_positive[0] + is_positive[1]
            columns += [counted & (cells == cell) for cell in range(4)]
        return _by_group(np.stack(columns, -1).astype(float), y.ndim - 1, group[labelled], groups)

    def summarise(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Every score of (..., 17); NaN where the range does not allow it, and without labels."""
        count, y, p, yy, pp, yp, error, seven, five = np.moveaxis(sums[..., :9], -1, 0)
        mean_y, mean_p = safe_ratio(y, count), safe_ratio(p, count)
        variance_y = np.maximum(safe_ratio(yy, count) - mean_y**2, 0.0)
        variance_p = np.maximum(safe_ratio(pp, count) - mean_p**2, 0.0)
        covariance = safe_ratio(yp, count) - mean_y * mean_p
        with_zero, without_zero = (sums[..., a : a + 4].reshape(*sums.shape[:-1], 2, 2) for a in (9, 13))
        binary, nonzero = scores.summarise(with_zero), scores.summarise(without_zero)
        found = {
            "mae": safe_ratio(error, count),
            "pearson": safe_ratio(covariance, np.sqrt(variance_y * variance_p)),
            "ccc": safe_ratio(2 * covariance, variance_y + variance_p + (mean_y - mean_p) ** 2),
            "acc2": binary["accuracy"],
            "acc2_f1": binary["weighted_f1"],
            "acc2_nonzero": nonzero["accuracy"],
            "acc2_nonzero_f1": nonzero["weighted_f1"],
            "acc5": safe_ratio(five, count),
            "acc7": safe_ratio(seven, count),
        }
        has_signs = self.task.low < 0 < self.task.high
        is_sentiment = (self.task.low, self.task.high) == SENTIMENT_RANGE
        allowed = {"acc2": has_signs, "acc5": is_sentiment, "acc7": is_sentiment}
        return {
            name: value if allowed.get(name.partition("_")[0], True) else np.full_like(value, np.nan)
            for name, value in found.items()
        }


SCORES = {"classification": ClassScores, "multilabel": LabelSetScores, "regression": NumberScores}
TaskScores = ClassScores | LabelSetScores | NumberScores


def task_scores(task: Task) -> TaskScores:
    """The scores of the task's kind."""
    return SCORES[task.kind](task)


def headline(task: Task, actual: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """The scores of (N, C) outputs of a network; rows without a label are ignored, nan if all are."""
    measure = task_scores(task)
    sums = measure.sums(actual, measure.answers(outputs), np.zeros(len(actual), np.int64), 1)[0]
    summary = measure.summarise(sums)
    return {name: float(summary[name]) for name in METRICS[task.kind]}


def scores_by_task(
    tasks: dict[str, Task], targets: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The headline scores of every task that has outputs (N, C)."""
    return {name: headline(tasks[name], targets[name], each) for name, each in outputs.items()}


def _by_group(values: np.ndarray, axis: int, group: np.ndarray, groups: int) -> np.ndarray:
    """Sums of values along the axis of utterances (N), by group: G in its place."""
    moved = np.moveaxis(values, axis, 0)
    sums = np.zeros((groups, *moved.shape[1:]), moved.dtype)
    np.add.at(sums, group, moved)
    return np.moveaxis(sums, 0, axis)


def _rounded(values: np.ndarray, most: int) -> np.ndarray:
    """The nearest whole number from -most to most, as the papers' round(clip(x))."""
    return np.round(values.clip(-most, most))

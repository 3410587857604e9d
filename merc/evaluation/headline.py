"""The headline scores of metrics/evaluate.json, with standard deviations over seeds and 95 % intervals."""

import numpy as np
import pandas as pd

from merc.data.records.labels import LabelSpace, is_labelled
from merc.data.records.selection import METRICS, Selection
from merc.evaluation import bootstrap, reliability, selection_gap
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.training.core import scores

BEFORE, AFTER = "emotion", "sentiment"  # tasks of which the second often follows from the first
EXTRA = {"classification": ("weighted_precision",)}  # scores without an interval


def scoreboard(
    predictions: Predictions, space: LabelSpace, train: pd.DataFrame, draws: bootstrap.Draws, chosen: Selection
) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {task: {metric: value}}}: teacher, student, floor; `baseline` (the most common label),
    `emotion_to_sentiment` and `selection_gap` (what selecting the teacher's epoch on test would have added).

    Without a classification `emotion` and one `sentiment` there is no `emotion_to_sentiment` and no consistency.
    """
    board = {
        model: {task: headline(predictions, task, model, draws) for task in predictions.classes}
        for model in predictions.models()
    }
    follows = all(task in space.tasks and not predictions.kinds.get(task) for task in (BEFORE, AFTER))
    mapping = sentiment_of_emotion(space, train) if follows else None
    for model in board if follows else ():
        board[model][AFTER]["consistency"] = consistency(predictions, model, mapping)
    board["baseline"] = {task: majority_baseline(space, train, predictions, task) for task in predictions.classes}
    if follows:
        board["emotion_to_sentiment"] = {AFTER: sentiment_from_emotion(predictions, "student", mapping)}
    board["selection_gap"] = {chosen.task: selection_gap.epoch_gap(predictions, "teacher", chosen.task)}
    return board


def headline(
    predictions: Predictions, task: str, model: str, draws: bootstrap.Draws, condition: str = FULL
) -> dict[str, float]:
    """Means over seeds; `_std` over seeds (NaN for one); `_low` and `_high` by bootstrap over groups and seeds."""
    counts, measure = predictions.group_confusions(task, model, [condition]), predictions.measure(task)
    by_seed = measure.summarise(counts.sum(axis=(1, 2)))
    replicates = bootstrap.replicate(counts, draws, measure.summarise)
    names = METRICS[measure.kind]
    board = {name: float(by_seed[name].mean()) for name in (*names, *EXTRA.get(measure.kind, ()))}
    for name in names:
        low, high = bootstrap.interval(replicates[name])
        board |= {f"{name}_std": std_over_seeds(by_seed[name]), f"{name}_low": low, f"{name}_high": high}
    if task in predictions.votes and task in predictions.outputs:
        board["jensen_shannon"] = reliability.jensen_shannon(predictions, task, model)
    return board


def std_over_seeds(values: np.ndarray) -> float:
    """The standard deviation over seeds; NaN for one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def majority_baseline(
    space: LabelSpace, train: pd.DataFrame, predictions: Predictions, task: str
) -> dict[str, float]:
    """Scores of always predicting what is most common in training: the label, the labels of most, the median."""
    measure, actual, targets = predictions.measure(task), predictions.actual(task), space.targets(train, task)
    shown = targets[is_labelled(targets)]
    if not len(shown):
        return dict.fromkeys(METRICS[measure.kind], np.nan)
    if measure.kind == "classification":
        answer = _counts(shown, len(predictions.classes[task])).argmax()
    else:
        answer = np.median(shown, axis=0) if measure.kind == "regression" else shown.mean(axis=0) > 0.5
    answers = np.broadcast_to(answer, actual.shape)
    summary = measure.summarise(measure.sums(actual, answers, np.zeros(len(actual), np.int64), 1)[0])
    return {name: float(summary[name]) for name in METRICS[measure.kind]}


def sentiment_of_emotion(space: LabelSpace, train: pd.DataFrame) -> np.ndarray | None:
    """(emotions,) the sentiment of each emotion: as the label space says, or the most common one in training.

    None if the space says nothing, and no utterance has both labels.
    """
    said, order = space.tasks[BEFORE].sentiments, space.tasks[AFTER].classes
    if all(said.get(label) in order for label in space.tasks[BEFORE].classes):
        return np.array([order.index(said[label]) for label in space.tasks[BEFORE].classes])
    emotion, sentiment = space.targets(train, BEFORE), space.targets(train, AFTER)
    both = (emotion >= 0) & (sentiment >= 0)
    if not both.any():
        return None
    emotions, sentiments = (len(space.tasks[task].classes) for task in (BEFORE, AFTER))
    overall = _counts(sentiment[both], sentiments)
    table = np.stack([_counts(sentiment[both & (emotion == label)], sentiments) for label in range(emotions)])
    return np.where(table.any(axis=1), table.argmax(axis=1), overall.argmax())


def sentiment_from_emotion(predictions: Predictions, model: str, mapping: np.ndarray | None) -> dict[str, float]:
    """Sentiment scores of the model's emotions mapped to sentiments: means over seeds."""
    if mapping is None or BEFORE not in predictions.outputs:
        return dict.fromkeys(scores.HEADLINE_METRICS, np.nan)
    mapped = mapping[predictions.predicted("emotion", model)[:, 0]]  # (S, N)
    matrix = scores.confusion(predictions.actual("sentiment"), mapped, len(predictions.classes["sentiment"]))
    measured = scores.summarise(matrix)
    return {name: float(measured[name].mean()) for name in scores.HEADLINE_METRICS}


def consistency(predictions: Predictions, model: str, mapping: np.ndarray | None) -> float:
    """The fraction of utterances whose predicted sentiment is the most common one of their predicted emotion."""
    if mapping is None or not {BEFORE, AFTER} <= set(predictions.outputs) or not len(predictions.rows):
        return np.nan
    mapped = mapping[predictions.predicted("emotion", model)]
    return float((mapped == predictions.predicted("sentiment", model)).mean())


def _counts(indices: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(indices[indices >= 0], minlength=classes)

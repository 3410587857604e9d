"""The headline scores of metrics/evaluate.json, with standard deviations over seeds and 95 % intervals."""

import numpy as np
import pandas as pd

from merc.data.records.labels import LabelSpace
from merc.evaluation import bootstrap, selection_gap
from merc.evaluation.predictions import Predictions
from merc.training.core import scores

MEASURES = (*scores.HEADLINE_METRICS, "weighted_precision")


def scoreboard(
    predictions: Predictions, space: LabelSpace, train: pd.DataFrame, draws: bootstrap.Draws
) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {task: {metric: value}}}: teacher, student, floor; `baseline` (the most common label),
    `emotion_to_sentiment` and `selection_gap` (what selecting the teacher's epoch on test would have added)."""
    board = {
        model: {task: headline(predictions, task, model, draws) for task in predictions.classes}
        for model in predictions.models()
    }
    mapping = sentiment_of_emotion(space, train)
    for model in board:
        board[model]["sentiment"]["consistency"] = consistency(predictions, model, mapping)
    board["baseline"] = {task: majority_baseline(space, train, predictions, task) for task in predictions.classes}
    board["emotion_to_sentiment"] = {"sentiment": sentiment_from_emotion(predictions, "student", mapping)}
    board["selection_gap"] = {"emotion": selection_gap.epoch_gap(predictions, "teacher")}
    return board


def headline(predictions: Predictions, task: str, model: str, draws: bootstrap.Draws) -> dict[str, float]:
    """Means over seeds; `_std` over seeds (NaN for one); `_low` and `_high` by bootstrap over groups and seeds."""
    counts = predictions.group_confusions(task, model)  # (S, 1, G, C, C)
    by_seed = scores.summarise(counts.sum(axis=(1, 2)))
    replicates = bootstrap.replicate(counts, draws)
    board = {name: float(by_seed[name].mean()) for name in MEASURES}
    for name in scores.HEADLINE_METRICS:
        low, high = bootstrap.interval(replicates[name])
        board |= {f"{name}_std": std_over_seeds(by_seed[name]), f"{name}_low": low, f"{name}_high": high}
    return board


def std_over_seeds(values: np.ndarray) -> float:
    """The standard deviation over seeds; NaN for one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def majority_baseline(
    space: LabelSpace, train: pd.DataFrame, predictions: Predictions, task: str
) -> dict[str, float]:
    """Scores of always predicting the most common training label."""
    actual, classes = predictions.actual(task), len(predictions.classes[task])
    counts = _counts(space.indices(train, task), classes)
    if not counts.any():
        return dict.fromkeys(scores.HEADLINE_METRICS, np.nan)
    return scores.scores(actual, np.full(len(actual), counts.argmax()), classes)


def sentiment_of_emotion(space: LabelSpace, train: pd.DataFrame) -> np.ndarray | None:
    """(emotions,) the most common sentiment of each emotion in training; None if no utterance has both labels."""
    emotion, sentiment = space.indices(train, "emotion"), space.indices(train, "sentiment")
    both = (emotion >= 0) & (sentiment >= 0)
    if not both.any():
        return None
    sentiments = len(space.sentiment)
    overall = _counts(sentiment[both], sentiments)
    table = np.stack(
        [_counts(sentiment[both & (emotion == label)], sentiments) for label in range(len(space.emotion))]
    )
    return np.where(table.any(axis=1), table.argmax(axis=1), overall.argmax())


def sentiment_from_emotion(predictions: Predictions, model: str, mapping: np.ndarray | None) -> dict[str, float]:
    """Sentiment scores of the model's emotions mapped to sentiments: means over seeds."""
    if mapping is None:
        return dict.fromkeys(scores.HEADLINE_METRICS, np.nan)
    mapped = mapping[predictions.predicted("emotion", model)[:, 0]]  # (S, N)
    matrix = scores.confusion(predictions.actual("sentiment"), mapped, len(predictions.classes["sentiment"]))
    measured = scores.summarise(matrix)
    return {name: float(measured[name].mean()) for name in scores.HEADLINE_METRICS}


def consistency(predictions: Predictions, model: str, mapping: np.ndarray | None) -> float:
    """The fraction of utterances whose predicted sentiment is the most common one of their predicted emotion."""
    if mapping is None or "sentiment" not in predictions.outputs or not len(predictions.rows):
        return np.nan
    mapped = mapping[predictions.predicted("emotion", model)]
    return float((mapped == predictions.predicted("sentiment", model)).mean())


def _counts(indices: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(indices[indices >= 0], minlength=classes)

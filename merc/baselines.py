"""What is reached without looking: the commonest label, and a sentiment read off the emotion.

Both are counted on the training labels, so that nothing here knows the test split.
"""

import numpy as np
import pandas as pd

from merc import scores
from merc.labels import LabelSpace
from merc.predictions import Predictions


def majority(space: LabelSpace, train: pd.DataFrame, predictions: Predictions) -> dict[str, dict[str, float]]:
    """The scores, per task, of always answering the commonest training label."""
    return {task: _constant(space, train, predictions, task) for task in predictions.orders}


def _constant(space: LabelSpace, train: pd.DataFrame, predictions: Predictions, task: str) -> dict[str, float]:
    actual, classes = predictions.actual(task), len(predictions.orders[task])
    counts = _counts(space.indices(train, task), classes)
    if not counts.any():
        return dict.fromkeys(scores.HEADLINE, np.nan)
    return scores.scores(actual, np.full(len(actual), counts.argmax()), classes)


def sentiment_of_emotion(space: LabelSpace, train: pd.DataFrame) -> np.ndarray | None:
    """(emotions,) the commonest sentiment of each emotion in training; None if no utterance has both labels."""
    emotion, sentiment = space.indices(train, "emotion"), space.indices(train, "sentiment")
    both = (emotion >= 0) & (sentiment >= 0)
    if not both.any():
        return None
    sentiments = len(space.sentiment)
    overall = _counts(sentiment[both], sentiments)
    table = np.stack(
        [_counts(sentiment[both & (emotion == each)], sentiments) for each in range(len(space.emotion))]
    )
    return np.where(table.any(axis=1), table.argmax(axis=1), overall.argmax())


def from_emotion(predictions: Predictions, model: str, mapping: np.ndarray | None) -> dict[str, float]:
    """The sentiment scores of the model's emotions, translated: the mean over seeds."""
    if mapping is None:
        return dict.fromkeys(scores.HEADLINE, np.nan)
    translated = mapping[predictions.predicted("emotion", model)[:, 0]]  # (S, N)
    matrix = scores.confusion(predictions.actual("sentiment"), translated, len(predictions.orders["sentiment"]))
    measured = scores.summarise(matrix)
    return {name: float(measured[name].mean()) for name in scores.HEADLINE}


def consistency(predictions: Predictions, model: str, mapping: np.ndarray | None) -> float:
    """The share of utterances whose two answers agree, a sentiment being what its emotion usually comes with."""
    if mapping is None or "sentiment" not in predictions.answers or not len(predictions.rows):
        return np.nan
    translated = mapping[predictions.predicted("emotion", model)]
    return float((translated == predictions.predicted("sentiment", model)).mean())


def _counts(numbers: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(numbers[numbers >= 0], minlength=classes)

"""metrics/evaluate.json: the headline scores with their spread over seeds and their 95 % interval."""

import numpy as np
import pandas as pd

from merc import baselines, intervals, scores, selection
from merc.labels import LabelSpace
from merc.predictions import Predictions

MEASURES = (*scores.HEADLINE, "weighted_precision")


def scoreboard(
    predictions: Predictions, space: LabelSpace, train: pd.DataFrame, draws: intervals.Draws
) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {task: {metric: value}}}, with `baseline` (the commonest label), `emotion_to_sentiment` and
    `selection_gap` (what picking the teacher's epoch on test would have added)."""
    board = {
        model: {task: headline(predictions, task, model, draws) for task in predictions.orders}
        for model in predictions.models()
    }
    mapping = baselines.sentiment_of_emotion(space, train)
    for model in board:
        board[model]["sentiment"]["consistency"] = baselines.consistency(predictions, model, mapping)
    board["baseline"] = baselines.majority(space, train, predictions)
    board["emotion_to_sentiment"] = {"sentiment": baselines.from_emotion(predictions, "student", mapping)}
    board["selection_gap"] = {"emotion": selection.gap(predictions, "teacher")}
    return board


def headline(predictions: Predictions, task: str, model: str, draws: intervals.Draws) -> dict[str, float]:
    """Mean over seeds; `_std` over seeds (null with one); `_low` and `_high` from groups and seeds drawn anew."""
    counts = predictions.counts(task, model)  # (S, 1, G, C, C)
    by_seed = scores.summarise(counts.sum(axis=(1, 2)))
    replicates = intervals.replicate(counts, draws)
    board = {name: float(by_seed[name].mean()) for name in MEASURES}
    for name in scores.HEADLINE:
        low, high = intervals.interval(replicates[name])
        board |= {f"{name}_std": spread(by_seed[name]), f"{name}_low": low, f"{name}_high": high}
    return board


def spread(values: np.ndarray) -> float:
    """The standard deviation over seeds, which one seed does not have."""
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan

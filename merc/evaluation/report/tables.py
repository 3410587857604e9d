"""Tables of the CSV files behind the plots: one tidy table per figure."""

from typing import Any, cast

import numpy as np
import pandas as pd

from merc.evaluation import bootstrap
from merc.evaluation.predictions import Predictions


def confusions(predictions: Predictions, task: str, model: str) -> pd.DataFrame:
    """A row per labelled utterance and seed: actual, predicted, seed."""
    columns = ["actual", "predicted", "seed"]
    if task not in predictions.outputs:
        return pd.DataFrame(columns=columns)
    order = predictions.classes[task]
    labelled = predictions.actual(task) >= 0
    seeds = [predictions.keys[block].seed for block in predictions.blocks(model, ["full"])[:, 0]]
    actual = predictions.rows[task][labelled]
    parts = [
        pd.DataFrame({"actual": actual, "predicted": [order[label] for label in predicted], "seed": seed})
        for seed, predicted in zip(seeds, predictions.predicted(task, model)[:, 0, labelled], strict=True)
    ]
    return cast("pd.DataFrame", pd.concat(parts, ignore_index=True)[columns])


def numbers(predictions: Predictions, task: str, model: str) -> pd.DataFrame:
    """A row per labelled utterance and seed of a regression: actual, predicted, seed."""
    if task not in predictions.outputs:
        return pd.DataFrame(columns=["actual", "predicted", "seed"])
    labelled = predictions.labelled(task)
    seeds = [predictions.keys[block].seed for block in predictions.blocks(model, ["full"])[:, 0]]
    actual, predicted = predictions.actual(task)[labelled], predictions.predicted(task, model)[:, 0, labelled]
    return pd.DataFrame(
        {
            "actual": np.tile(actual, len(seeds)),
            "predicted": predicted.ravel(),
            "seed": np.repeat(seeds, len(actual)),
        }
    )


def class_scores(predictions: Predictions, task: str, draws: bootstrap.Draws) -> pd.DataFrame:
    """Precision, recall, F1 (with its 95 % interval) and support of every class, means over seeds."""
    return pd.concat(
        [_classes(predictions, task, model, draws) for model in predictions.models()], ignore_index=True
    )


def _classes(predictions: Predictions, task: str, model: str, draws: bootstrap.Draws) -> pd.DataFrame:
    counts, measure = predictions.group_confusions(task, model), cast("Any", predictions.measure(task))
    by_seed = measure.per_class(counts.sum(axis=(1, 2)))
    replicates = bootstrap.replicate_classes(counts, draws, measure.per_class)  # (R, C)
    intervals = [bootstrap.interval(column) for column in replicates.T]
    means = {name: by_seed[name].mean(axis=0) for name in ("precision", "recall", "f1")}
    return pd.DataFrame(
        {
            "model": model,
            "class": predictions.classes[task],
            **means,
            "f1_low": [low for low, _ in intervals],
            "f1_high": [high for _, high in intervals],
            "support": by_seed["support"][0] if len(by_seed["support"]) else 0,
        }
    )


def all_scores(predictions: Predictions) -> pd.DataFrame:
    """A row per model, task, condition and seed, with every score: out/evaluate/results.csv, for other tools."""
    parts = [
        _condition(predictions, model, task, condition)
        for model in predictions.models()
        for task in predictions.classes
        for condition in predictions.conditions(model)
    ]
    return pd.concat(parts, ignore_index=True)


def _condition(predictions: Predictions, model: str, task: str, condition: str) -> pd.DataFrame:
    seeds = [predictions.keys[block].seed for block in predictions.blocks(model, [condition])[:, 0]]
    measured = predictions.measure(task).summarise(predictions.confusions(task, model, [condition])[:, 0])  # (S,)
    return pd.DataFrame({"model": model, "task": task, "condition": condition, "seed": seeds, **measured})

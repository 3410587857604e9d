"""The tables behind the plots: one tidy CSV a figure."""

from pathlib import Path

import pandas as pd

from merc import intervals, scores
from merc.predictions import Predictions
from merc.results import DECIMALS


def write(path: Path, table: pd.DataFrame) -> None:
    """Write CSV with floats rounded as metrics are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")


def confusions(predictions: Predictions, task: str, model: str) -> pd.DataFrame:
    """One row per labelled utterance and seed: actual, predicted, seed."""
    columns = ["actual", "predicted", "seed"]
    if task not in predictions.answers:
        return pd.DataFrame(columns=columns)
    order = predictions.orders[task]
    labelled = predictions.actual(task) >= 0
    seeds = [predictions.keys[block].seed for block in predictions.blocks(model, ["full"])[:, 0]]
    actual = predictions.rows[task][labelled]
    parts = [
        pd.DataFrame({"actual": actual, "predicted": [order[number] for number in numbers], "seed": seed})
        for seed, numbers in zip(seeds, predictions.predicted(task, model)[:, 0, labelled], strict=True)
    ]
    return pd.concat(parts, ignore_index=True)[columns]


def classes(predictions: Predictions, task: str, draws: intervals.Draws) -> pd.DataFrame:
    """Precision, recall, F1 (with its 95 % interval) and support of every class, mean over seeds."""
    return pd.concat(
        [_classes(predictions, task, model, draws) for model in predictions.models()], ignore_index=True
    )


def _classes(predictions: Predictions, task: str, model: str, draws: intervals.Draws) -> pd.DataFrame:
    counts = predictions.counts(task, model)
    each = scores.per_class(counts.sum(axis=(1, 2)))
    replicates = intervals.replicate_classes(counts, draws)  # (R, C)
    bands = [intervals.interval(column) for column in replicates.T]
    means = {name: each[name].mean(axis=0) for name in ("precision", "recall", "f1")}
    return pd.DataFrame(
        {
            "model": model,
            "class": predictions.orders[task],
            **means,
            "f1_low": [low for low, _ in bands],
            "f1_high": [high for _, high in bands],
            "support": each["support"][0] if len(each["support"]) else 0,
        }
    )


def every(predictions: Predictions) -> pd.DataFrame:
    """One row per model, task, condition and seed, with every score: what other tools start from."""
    parts = [
        _condition(predictions, model, task, condition)
        for model in predictions.models()
        for task in predictions.orders
        for condition in predictions.conditions(model)
    ]
    return pd.concat(parts, ignore_index=True)


def _condition(predictions: Predictions, model: str, task: str, condition: str) -> pd.DataFrame:
    seeds = [predictions.keys[block].seed for block in predictions.blocks(model, [condition])[:, 0]]
    measured = scores.summarise(predictions.matrices(task, model, [condition])[:, 0])  # (S,) each
    return pd.DataFrame({"model": model, "task": task, "condition": condition, "seed": seeds, **measured})

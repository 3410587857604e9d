"""metrics/robustness.json: what is left of a score when modalities go missing."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from merc import intervals, scores
from merc.conditions import FULL
from merc.predictions import Predictions
from merc.selection import EPOCH

HALF = "rate:0.5"


def families(conditions: Iterable[str]) -> dict[str, list[str]]:
    """Conditions by name without the repeat: `rate:0.3` -> its repeats."""
    grouped: dict[str, list[str]] = {}
    for condition in conditions:
        name = condition.partition("/")[0] if condition.startswith("rate:") else condition
        grouped.setdefault(name, []).append(condition)
    return grouped


def robustness(predictions: Predictions) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {task: macro F1 by condition, and what sums them up}}; for sentiment the main conditions alone."""
    models = predictions.models()
    tasks = predictions.orders
    return {model: {task: _robustness(predictions, model, task) for task in tasks} for model in models}


def _robustness(predictions: Predictions, model: str, task: str) -> dict[str, float]:
    asked = [name for name in predictions.conditions(model) if not name.startswith(EPOCH)]
    found = families(asked)
    kept = [name for name in found if task == "emotion" or _main(name)]
    by_condition = {name: _macro_f1(predictions, task, model, found[name]) for name in kept}
    return by_condition | summary(by_condition)


def _main(name: str) -> bool:
    """90 numbers fit into a metrics file; the other conditions are in out/evaluate/results.csv for both tasks."""
    return name == FULL or name.startswith("only:") or _even(name)


def summary(by_condition: dict[str, float]) -> dict[str, float]:
    """Area: the mean height of the curve over missing rates; loss: the share of the full score lost at 0.5."""
    rates, heights = curve(by_condition)
    subsets = [value for name, value in by_condition.items() if name.startswith("only:")]
    full = by_condition[FULL]
    return {
        "area": float(np.trapezoid(heights, rates) / rates[-1]) if len(rates) > 1 else np.nan,
        "worst_subset": min(subsets, default=np.nan),
        "loss_at_half": 1 - by_condition[HALF] / full if HALF in by_condition and full > 0 else np.nan,
    }


def curve(by_condition: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Rates that hold for every modality alike, from 0 (full) up, and the scores there."""
    points = {0.0: by_condition[FULL]} | {_rate(name): by_condition[name] for name in by_condition if _even(name)}
    return np.array(sorted(points)), np.array([points[rate] for rate in sorted(points)])


def band(predictions: Predictions, task: str, draws: intervals.Draws) -> pd.DataFrame:
    """A row a missing rate: each model's macro F1 with its 95 % interval (groups and seeds drawn anew)."""
    models = predictions.models()
    found = families(predictions.conditions(models[0]))
    rates = {0.0: found[FULL]} | {_rate(name): found[name] for name in found if _even(name)}
    return pd.DataFrame(
        {"rate": rate, **{k: v for model in models for k, v in _point(predictions, task, model, c, draws).items()}}
        for rate, c in sorted(rates.items())
    )


def _point(
    predictions: Predictions, task: str, model: str, conditions: list[str], draws: intervals.Draws
) -> dict[str, float]:
    low, high = intervals.interval(
        intervals.replicate(predictions.counts(task, model, conditions), draws)["macro_f1"]
    )
    return {
        model: _macro_f1(predictions, task, model, conditions),
        f"{model}_low": low,
        f"{model}_high": high,
    }


def _macro_f1(predictions: Predictions, task: str, model: str, conditions: list[str]) -> float:
    matrices = predictions.matrices(task, model, conditions)
    return float(scores.summarise(matrices)["macro_f1"].mean())


def _even(name: str) -> bool:
    return name.startswith("rate:") and "=" not in name


def _rate(name: str) -> float:
    return float(name.removeprefix("rate:"))

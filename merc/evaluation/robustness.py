"""The scores of metrics/robustness.json: macro F1 with missing or damaged modalities."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from merc.data.records.selection import MAIN_METRIC
from merc.evaluation import bootstrap, left_out
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.selection_gap import EPOCH_PREFIX

HALF_RATE = "rate:0.5"


def group_repeats(conditions: Iterable[str]) -> dict[str, list[str]]:
    """Group conditions by name without the repeat: `rate:0.3` -> its repeats."""
    grouped: dict[str, list[str]] = {}
    for condition in conditions:
        name = condition.partition("/")[0] if condition.startswith("rate:") else condition
        grouped.setdefault(name, []).append(condition)
    return grouped


def robustness(predictions: Predictions) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {task: macro F1 by condition, and its summary}}; after the first task only the main conditions.

    Of a regression the concordance (CCC) in place of the macro F1.
    """
    models = predictions.models()
    tasks = predictions.classes
    return {model: {task: _robustness(predictions, model, task) for task in tasks} for model in models}


def _robustness(predictions: Predictions, model: str, task: str) -> dict[str, float]:
    shown = (one for one in predictions.conditions(model) if not one.startswith(EPOCH_PREFIX))
    grouped = group_repeats(one for one in shown if not left_out.is_of_rule(one))
    names = [name for name in grouped if task == next(iter(predictions.classes)) or _is_main(name)]
    by_condition = {name: _score(predictions, task, model, grouped[name]) for name in names}
    return by_condition | summary(by_condition)


def _is_main(name: str) -> bool:
    """A metrics file holds 90 numbers; the other conditions are in out/evaluate/results.csv for every task."""
    return name == FULL or name.startswith("only:") or _is_uniform(name)


def summary(by_condition: dict[str, float]) -> dict[str, float]:
    """Area: the mean of the curve over missing rates; loss: the fraction of the full score lost at rate 0.5."""
    rates, values = curve(by_condition)
    subsets = [score for name, score in by_condition.items() if name.startswith("only:")]
    full = by_condition[FULL]
    return {
        "area": float(np.trapezoid(values, rates) / rates[-1]) if len(rates) > 1 else np.nan,
        "worst_subset": min(subsets, default=np.nan),
        "loss_at_half": 1 - by_condition[HALF_RATE] / full if HALF_RATE in by_condition and full > 0 else np.nan,
    }


def curve(by_condition: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """The missing rates common to all modalities, from 0 (full) up, and their scores."""
    points = {0.0: by_condition[FULL]} | {
        _rate(name): by_condition[name] for name in by_condition if _is_uniform(name)
    }
    return np.array(sorted(points)), np.array([points[rate] for rate in sorted(points)])


def missing_rate_curve(predictions: Predictions, task: str, draws: bootstrap.Draws) -> pd.DataFrame:
    """A row per missing rate: each model's main score with its 95 % bootstrap interval."""
    models = predictions.models()
    grouped = group_repeats(predictions.conditions(models[0]))
    rates = {0.0: grouped[FULL]} | {_rate(name): grouped[name] for name in grouped if _is_uniform(name)}
    return pd.DataFrame(
        {"rate": rate, **{k: v for model in models for k, v in _point(predictions, task, model, c, draws).items()}}
        for rate, c in sorted(rates.items())
    )


def _point(
    predictions: Predictions, task: str, model: str, conditions: list[str], draws: bootstrap.Draws
) -> dict[str, float]:
    measure, counts = predictions.measure(task), predictions.group_confusions(task, model, conditions)
    low, high = bootstrap.interval(bootstrap.replicate(counts, draws, measure.summarise)[MAIN_METRIC[measure.kind]])
    return {model: _score(predictions, task, model, conditions), f"{model}_low": low, f"{model}_high": high}


def _score(predictions: Predictions, task: str, model: str, conditions: list[str]) -> float:
    matrices, measure = predictions.confusions(task, model, conditions), predictions.measure(task)
    return float(measure.summarise(matrices)[MAIN_METRIC[measure.kind]].mean())


def _is_uniform(name: str) -> bool:
    return name.startswith("rate:") and "=" not in name


def _rate(name: str) -> float:
    return float(name.removeprefix("rate:"))

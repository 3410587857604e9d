"""HTML tables of the report page."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Protocol, cast

import numpy as np
import pandas as pd

from merc.evaluation.missing_modalities import FULL

TITLES = {"accuracy": "accuracy", "weighted_f1": "weighted F1", "macro_f1": "macro F1", "uar": "UAR"}
CALIBRATION = {
    "ece_raw": "ECE before",
    "ece": "ECE",
    "classwise_ece": "classwise ECE",
    "brier": "Brier score",
    "nll": "log loss",
    "aurc": "AURC",
    "coverage": "coverage of the 90 % sets",
    "set_size": "labels in a set",
}
TESTS = {
    "permutation_p": "permutation p",
    "mcnemar_p": "McNemar p",
    "paired_t_p": "paired t p",
    "cohen_d": "Cohen's d",
}
SUMMARIES = {
    "area": "area under the curve of rates",
    "worst_subset": "worst subset",
    "loss_at_half": "share lost at 0.5",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the cells are HTML."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def number(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"


def headline(board: Mapping[str, Mapping], models: Sequence[str]) -> str:
    """The scores with their intervals, a row per task and model."""
    rows = []
    for model in models:
        for task, values in board[model].items():
            label = "commonest label" if model == "baseline" else model
            rows.append([escape(f"{task}: {label}"), *(_with_interval(values, name) for name in TITLES)])
    return table(["", *TITLES.values()], rows)


def _with_interval(values: Mapping[str, float], name: str) -> str:
    low, high = (values.get(f"{name}_{end}", np.nan) for end in ("low", "high"))
    value = number(values[name])
    return value if np.isnan(low) else f"{value} <small>[{number(low)}, {number(high)}]</small>"


def corpora(boards: Mapping[str, Mapping]) -> str:
    """The headline scores of each corpus; empty for a single corpus, whose scores are the overall ones."""
    if len(boards) < 2:
        return ""
    parts = [f"<h3>{escape(corpus)} alone</h3>{headline(board, list(board))}" for corpus, board in boards.items()]
    return "".join(parts)


def compared(comparisons: Mapping[str, Mapping]) -> str:
    """The verdicts, and the tests behind them."""
    verdicts = "".join(
        f"<li>{escape(task)}: {escape(result['verdict'])}</li>" for task, result in comparisons.items()
    )
    rows = [
        [
            escape(task),
            f"{result['difference']:+.3f} <small>[{number(result['low'])}, {number(result['high'])}]</small>",
            *(number(result[name]) for name in TESTS),
        ]
        for task, result in comparisons.items()
        if "difference" in result
    ]
    return f"<ul>{verdicts}</ul>{table(['student - teacher', 'macro F1', *TESTS.values()], rows) if rows else ''}"


def selection(gap: Mapping[str, float]) -> str:
    """The selection gap in a sentence."""
    if not gap["epochs"]:
        return "<p>No epochs were kept, so what picking one on test would have added is not known.</p>"
    return (
        f"<p>Of {gap['epochs']} kept epochs of the first teacher, picking the best on test instead of on dev would "
        f"have added {number(gap['macro_f1'])} macro F1 and {number(gap['weighted_f1'])} weighted F1.</p>"
    )


def missing(robust: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Macro F1 by condition, a column per model and task; the percentage of the full score in small print."""
    columns = [(model, task) for model in robust for task in robust[model]]
    names = list(dict.fromkeys(name for model, task in columns for name in robust[model][task]))
    rows = []
    for name in names:
        cells = [_with_percentage(robust[model][task], name) for model, task in columns]
        rows.append([escape(SUMMARIES.get(name, name)), *cells])
    return table(["macro F1", *(escape(f"{model}, {task}") for model, task in columns)], rows)


def _with_percentage(by_condition: Mapping[str, float], name: str) -> str:
    value, full = by_condition.get(name, np.nan), by_condition[FULL]
    if np.isnan(value) or name in (FULL, *SUMMARIES) or not full > 0:
        return number(value)
    return f"{number(value)} <small>{100 * value / full:.0f} %</small>"


def calibrated(measures: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Calibration measures, a column per model and task."""
    columns = [(model, task) for model in measures for task in measures[model] if measures[model][task]]
    rows = [[title, *(number(measures[m][t][name]) for m, t in columns)] for name, title in CALIBRATION.items()]
    classes = list(dict.fromkeys(label for m, t in columns for label in measures[m][t]["coverage_by_class"]))
    for label in classes:
        coverage = [number(measures[m][t]["coverage_by_class"].get(label)) for m, t in columns]
        rows.append([f"coverage of {escape(label)}", *coverage])
    return table(["", *(escape(f"{model}, {task}") for model, task in columns)], rows)


class _SliceRow(Protocol):
    """A row of slices.slice_table."""

    slice: str
    utterances: int
    accuracy: float
    macro_f1: float
    worst: bool


def slices(sliced: pd.DataFrame) -> str:
    """A row per slice, accuracy and macro F1 of each model; each model's worst larger slice is bold."""
    cells: dict[str, list[str]] = {}
    for row in cast("Iterable[_SliceRow]", sliced.itertuples()):
        value = f"<b>{number(row.accuracy)}</b>" if row.worst else number(row.accuracy)
        cells.setdefault(row.slice, [str(row.utterances)]).extend([value, number(row.macro_f1)])
    models = sliced["model"].drop_duplicates()
    header = [f"{escape(model)}, {score}" for model in models for score in ("accuracy", "macro F1")]
    return table(
        ["worst of the larger slices: bold", "utterances", *header], [[escape(n), *c] for n, c in cells.items()]
    )

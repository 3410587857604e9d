"""Tables of the report page, as HTML."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from merc.conditions import FULL

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
SUMS = {
    "area": "area under the curve of rates",
    "worst_subset": "worst subset",
    "loss_at_half": "share lost at 0.5",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def number(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"


def headline(board: Mapping[str, Mapping], models: Sequence[str]) -> str:
    """The scores with their intervals, a row a task and model."""
    rows = []
    for model in models:
        for task, measured in board[model].items():
            label = "commonest label" if model == "baseline" else model
            rows.append([escape(f"{task}: {label}"), *(_with_interval(measured, name) for name in TITLES)])
    return table(["", *TITLES.values()], rows)


def _with_interval(measured: Mapping[str, float], name: str) -> str:
    low, high = (measured.get(f"{name}_{end}", np.nan) for end in ("low", "high"))
    value = number(measured[name])
    return value if np.isnan(low) else f"{value} <small>[{number(low)}, {number(high)}]</small>"


def corpora(told: Mapping[str, Mapping]) -> str:
    """The headline of each corpus; nothing if there is but one, whose scores stand above."""
    if len(told) < 2:
        return ""
    parts = [f"<h3>{escape(corpus)} alone</h3>{headline(board, list(board))}" for corpus, board in told.items()]
    return "".join(parts)


def compared(told: Mapping[str, Mapping]) -> str:
    """The verdicts, and the tests that they rest on."""
    said = "".join(f"<li>{escape(task)}: {escape(one['verdict'])}</li>" for task, one in told.items())
    rows = [
        [
            escape(task),
            f"{one['difference']:+.3f} <small>[{number(one['low'])}, {number(one['high'])}]</small>",
            *(number(one[name]) for name in TESTS),
        ]
        for task, one in told.items()
        if "difference" in one
    ]
    return f"<ul>{said}</ul>{table(['student - teacher', 'macro F1', *TESTS.values()], rows) if rows else ''}"


def selection(gap: Mapping[str, float]) -> str:
    """What test-picking would have added, in a sentence."""
    if not gap["epochs"]:
        return "<p>No epochs were kept, so what picking one on test would have added is not known.</p>"
    return (
        f"<p>Of {gap['epochs']} kept epochs of the first teacher, picking the best on test instead of on dev would "
        f"have added {number(gap['macro_f1'])} macro F1 and {number(gap['weighted_f1'])} weighted F1.</p>"
    )


def missing(robust: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Macro F1 by condition, a column a model and task; the share of the full score in small print."""
    columns = [(model, task) for model in robust for task in robust[model]]
    names = list(dict.fromkeys(name for model, task in columns for name in robust[model][task]))
    rows = []
    for name in names:
        cells = [_left(robust[model][task], name) for model, task in columns]
        rows.append([escape(SUMS.get(name, name)), *cells])
    return table(["macro F1", *(escape(f"{model}, {task}") for model, task in columns)], rows)


def _left(measured: Mapping[str, float], name: str) -> str:
    value, full = measured.get(name, np.nan), measured[FULL]
    if np.isnan(value) or name in (FULL, *SUMS) or not full > 0:
        return number(value)
    return f"{number(value)} <small>{100 * value / full:.0f} %</small>"


def calibrated(told: Mapping[str, Mapping[str, Mapping]]) -> str:
    """How far stated probabilities can be believed, a column a model and task."""
    columns = [(model, task) for model in told for task in told[model] if told[model][task]]
    rows = [[title, *(number(told[m][t][name]) for m, t in columns)] for name, title in CALIBRATION.items()]
    classes = list(dict.fromkeys(each for m, t in columns for each in told[m][t]["coverage_by_class"]))
    for each in classes:
        covered = [number(told[m][t]["coverage_by_class"].get(each)) for m, t in columns]
        rows.append([f"coverage of {escape(each)}", *covered])
    return table(["", *(escape(f"{model}, {task}") for model, task in columns)], rows)


def slices(sliced: pd.DataFrame) -> str:
    """One row a slice, accuracy and macro F1 of each model; each model's worst larger slice is bold."""
    cells: dict[str, list[str]] = {}
    for row in sliced.itertuples():
        value = f"<b>{number(row.accuracy)}</b>" if row.worst else number(row.accuracy)
        cells.setdefault(row.slice, [str(row.utterances)]).extend([value, number(row.macro_f1)])
    models = sliced["model"].drop_duplicates()
    header = [f"{escape(model)}, {score}" for model in models for score in ("accuracy", "macro F1")]
    return table(
        ["worst of the larger slices: bold", "utterances", *header], [[escape(n), *c] for n, c in cells.items()]
    )

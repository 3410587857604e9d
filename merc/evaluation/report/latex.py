"""Tables for a paper: the LaTeX tabulars of out/evaluate, in per cent."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from merc.data.records.selection import METRICS, TITLES


def write_tables(
    folder: Path, board: Mapping, robust: Mapping, calibrated: Mapping, classes: Mapping[str, pd.DataFrame]
) -> None:
    """Write results.tex, robustness.tex, calibration.tex, and classes_<task>.tex for every task."""
    tables = {"results": headline(board), "robustness": robustness(robust), "calibration": calibration(calibrated)}
    tables |= {f"classes_{task}": by_class(table) for task, table in classes.items()}
    for name, text in tables.items():
        (folder / f"{name}.tex").write_text(text, encoding="utf-8")


def headline(board: Mapping) -> str:
    """The headline scores with their intervals, a tabular for each kind of task."""
    return "\n".join(_headline(board, names) for names in METRICS.values()).strip("\n") + "\n"


def _headline(board: Mapping, names: Sequence[str]) -> str:
    """A tabular of the tasks with these scores; "" without such a task."""
    rows = [
        [model, task, *(_with_interval(values, name) for name in names)]
        for model in ("teacher", "student", "floor", "baseline")
        for task, values in board[model].items()
        if set(names) <= set(values)
    ]
    return tabular(["model", "task", *(TITLES[name] for name in names)], rows, texts=2) if rows else ""


def robustness(robust: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Macro F1 by condition, a column per model and task."""
    columns = [(model, task) for model in robust for task in robust[model]]
    names = list(dict.fromkeys(name for model, task in columns for name in robust[model][task]))
    rows = [[name, *(_number(robust[m][t].get(name, np.nan)) for m, t in columns)] for name in names]
    return tabular(["condition", *(f"{model}, {task}" for model, task in columns)], rows)


def calibration(measures: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Calibration measures, a column per model and task."""
    columns = [(model, task) for model in measures for task in measures[model] if measures[model][task]]
    names = [name for name in ("ece_raw", "ece", "classwise_ece", "brier", "aurc", "coverage") if columns]
    rows = [[name, *(_number(measures[m][t].get(name, np.nan)) for m, t in columns)] for name in names]
    return tabular(["measure", *(f"{model}, {task}" for model, task in columns)], rows)


def by_class(table: pd.DataFrame) -> str:
    """Precision, recall, F1 with its interval, and support of every class."""
    rows = []
    for row in table.to_dict("records"):
        interval = _with_interval(row, "f1")
        rows.append([row["model"], row["class"], _number(row["precision"]), _number(row["recall"]), interval])
        rows[-1].append(f"{row['support']:.0f}")
    return tabular(["model", "class", "precision", "recall", "F1", "support"], rows, texts=2)


def tabular(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A tabular with the rules of LaTeX's package booktabs; the first `texts` columns are flush left."""
    columns = "l" * texts + "r" * (len(header) - texts)
    return pd.DataFrame(rows, columns=list(header)).to_latex(index=False, column_format=columns, escape=True)


def _with_interval(values: Mapping[str, float], name: str) -> str:
    value, low, high = (values.get(key, np.nan) for key in (name, f"{name}_low", f"{name}_high"))
    return _number(value) if np.isnan(low) else f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return "--" if value is None or np.isnan(value) else f"{100 * value:.1f}"

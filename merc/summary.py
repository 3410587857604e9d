"""`python -m merc results`: the scores that lie here, on one 80x24 screen; NAME: runs a study (merc/studies.py)."""

from pathlib import Path
from typing import Any

from merc import committed
from merc.problem import Problem
from merc.results import read_json

METRICS = Path("metrics")
COLUMNS = {"accuracy": "accuracy", "weighted_f1": "weighted F1", "macro_f1": "macro F1", "uar": "UAR"}
ROWS = (
    ("student", "emotion"),
    ("teacher", "emotion"),
    ("baseline", "emotion"),
    ("student", "sentiment"),
    ("teacher", "sentiment"),
    ("baseline", "sentiment"),
)
WHERE = """\
Numbers  metrics/evaluate.json, metrics/robustness.json; dvc metrics show, diff
Plots    plots/evaluate/*.png; dvc plots show (dvc_plots/index.html)
Words    README.md, "What comes out"; out/evaluate/report/index.html"""


def results(*words: str) -> None:
    """Print the table; with words, run the study that the first names, or those rows of it that the others name."""
    if words:
        from merc import study_runs

        return study_runs.run(*words)
    print(table(_read("evaluate"), _read("robustness")))
    return print(f"Commit   {committed.comparison()}")


def _read(name: str) -> Any:
    path = METRICS / f"{name}.json"
    if not path.is_file():
        raise Problem(f"{path}: not there; run `make repro`")
    return read_json(path)


def table(scores: dict, robustness: dict) -> str:
    """At most 23 lines of at most 80 characters."""
    header = f"{'Test split, mean over seeds':<28}" + "".join(f"{title:>13}" for title in COLUMNS.values())
    lines = [_row(model, task, scores[model][task]) for model, task in ROWS]
    return "\n".join([header, *lines[:3], "", *lines[3:], "", *_subsets(robustness), "", WHERE])


def _row(model: str, task: str, measured: dict) -> str:
    label = "commonest label" if model == "baseline" else model
    return f"{f'{task}: {label}':<28}" + "".join(f"{_number(measured[name]):>13}" for name in COLUMNS)


def _subsets(robustness: dict) -> list[str]:
    """Macro F1 of the emotion by what the student is allowed to see, two to a line."""
    student = robustness["student"]["emotion"]
    shown = [name for name in student if name == "full" or name.startswith("only:")] + ["rate:0.5"]
    cells = [f"{_seen(name):<28}{_number(student.get(name)):>8}" for name in shown]
    pairs = ["    ".join(cells[first : first + 2]).rstrip() for first in range(0, len(cells), 2)]
    return ["Student's emotion macro F1 when only some modalities are there", *pairs]


def _seen(name: str) -> str:
    return {"full": "all", "rate:0.5": "each missing half the time"}.get(name, name.removeprefix("only:"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

"""`python -m merc results`: the scores of the last run on one 80x24 screen; with NAME, run a study."""

from pathlib import Path
from typing import Any

import yaml

from merc.data.records import selection
from merc.data.records.selection import MAIN_METRIC, TITLES
from merc.runtime import params
from merc.runtime.errors import CommandLine, UserError
from merc.runtime.results import read_json
from merc.studies import committed
from merc.studies.cells import format_number

METRICS, LOCK = Path("metrics"), Path("dvc.lock")
COLUMNS = {"subset_accuracy": "all right"}  # titles that are shorter than those of TITLES
MODELS = {"student": "student", "teacher": "teacher", "floor": "floor", "baseline": "commonest label"}
FURTHER_READING = """\
Numbers  metrics/evaluate.json, metrics/robustness.json; dvc metrics show, diff
Plots    plots/evaluate/*.png; dvc plots show (dvc_plots/index.html)
Words    out/evaluate/report/index.html, which docs/tutorials/report.md explains"""


def results_command(*words: str) -> None:
    """Print the scores; if a study is named, run it, or only the rows named after it."""
    parser = CommandLine(
        prog="python -m merc results",
        description="Print the scores of the last run and compare them with the last commit; or run a study.",
    )
    parser.add_argument(
        "study", nargs="?", metavar="NAME", help="a study of merc/studies/definitions.py, or typicality"
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows of the study to run (default: all)")
    options = parser.parse_args(words)
    if options.study == "typicality":
        from merc.studies import typicality

        typicality.measure()
        return
    if options.study is not None:
        from merc.studies import run

        run.run_study(options.study, *options.rows)
        return
    _refuse_another_corpus()
    print(summary_table(_read("evaluate"), _read("robustness")))
    print(f"Commit   {committed.compare_with_last_commit()}")


def _refuse_another_corpus() -> None:
    """Refuse scores of other corpora or labels than params.yaml names; dvc.lock knows what they are of."""
    if not params.FILE.is_file():
        return
    document = yaml.load(LOCK.read_text(encoding="utf-8"), params.LOADER) if LOCK.is_file() else {}
    evaluated = document.get("stages", {}).get("evaluate", {}).get("params", {}).get(str(params.FILE), {})
    for key in ("data.corpora", "data.labels"):
        wanted = params.read(key, list[str] | str)
        if evaluated.get(key, wanted) != wanted:
            raise UserError(
                f"{METRICS}: the scores that lie here are of {key} = {evaluated[key]}, and params.yaml names "
                f"{wanted}; run `dvc repro`"
            )


def _read(name: str) -> Any:
    path = METRICS / f"{name}.json"
    if not path.is_file():
        raise UserError(f"{path}: not there; run `make repro`")
    return read_json(path)


def summary_table(scores: dict, robustness: dict) -> str:
    """At most 23 lines of at most 80 characters for two classifications; a block for each task."""
    blocks, shown = [], ()
    for task in scores["student"]:
        columns = columns_of(scores["student"][task])
        header = f"{'Test split, mean over seeds':<28}" + "".join(f"{title:>13}" for title in columns.values())
        rows = [_row(model, task, scores[model][task], columns) for model in MODELS if model in scores]
        blocks += [*([header] if columns != shown else []), *rows, ""]
        shown = columns
    return "\n".join([*blocks, *_subset_lines(robustness, scores["student"]), "", FURTHER_READING])


def columns_of(scores: dict) -> dict[str, str]:
    """The titles of a task's scores, of which four fit on a line: what its kind of task is known by."""
    shown = next(names for names in selection.METRICS.values() if set(names) <= set(scores))[:4]
    return {name: COLUMNS.get(name, TITLES[name]) for name in shown}


def _row(model: str, task: str, scores: dict, columns: dict[str, str]) -> str:
    return f"{f'{task}: {MODELS[model]}':<28}" + "".join(f"{format_number(scores[name]):>13}" for name in columns)


def _subset_lines(robustness: dict, scores: dict) -> list[str]:
    """The student's main score of the first task by available modalities, two cells to a line."""
    task, student = next(iter(robustness["student"].items()))
    main = next(TITLES[name] for name in MAIN_METRIC.values() if name in scores[task])
    conditions = [name for name in student if name == "full" or name.startswith("only:")] + ["rate:0.5"]
    cells = [f"{_condition_label(name):<28}{format_number(student.get(name)):>8}" for name in conditions]
    pairs = ["    ".join(cells[first : first + 2]).rstrip() for first in range(0, len(cells), 2)]
    return [f"Student's {task} {main} when only some modalities are there", *pairs]


def _condition_label(condition: str) -> str:
    return {"full": "all", "rate:0.5": "each missing half the time"}.get(condition, condition.removeprefix("only:"))

"""The report page out/evaluate/report/index.html: one self-contained HTML file."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from merc import templates
from merc.data.records.labels import Kind, LabelSpace, Task, is_labelled
from merc.data.records.selection import MAIN_METRIC, METRICS, TITLES, Selection
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions

TEMPLATE = Path(__file__).with_name("report.html.jinja")
SHOWN_DIALOGUES = 3  # number of best dialogues shown, and of worst ones
MIN_LABELLED = 3  # labelled utterances of a dialogue that may be shown, at least
SUMMARIES = {
    "area": "area under the curve of rates",
    "worst_subset": "worst subset",
    "loss_at_half": "share lost at 0.5",
}


class ReportData(NamedTuple):
    """The results to report: the contents of the result files."""

    board: Mapping
    robust: Mapping
    compared: Mapping
    calibrated: Mapping
    corpora: Mapping
    slices: Mapping[str, pd.DataFrame]
    findings: Sequence[str]
    floors: Mapping[str, Mapping[str, Mapping[str, float]]]
    scored: Sequence[str]  # sentences: over which classes the macro scores are
    chosen: Selection
    typicality: Mapping[str, Mapping]


def classes_scored(predictions: Predictions, space: LabelSpace, train: pd.DataFrame) -> list[str]:
    """Sentences: over which classes the macro scores of each task are, and which classes training never showed."""
    sentences = []
    for name, task in space.tasks.items():
        if task.kind != "regression" and predictions.labelled(name).any():
            occurring, shown = (
                _shown(task, targets) for targets in (predictions.actual(name), task.targets(train))
            )
            all_or = "all" if len(occurring) == len(task.classes) else f"{len(occurring)} of"
            missing = [label for label in task.classes if label not in occurring]
            sentence = f"{name}: {all_or} {len(task.classes)}" + (
                f", without {', '.join(missing)}" if missing else ""
            )
            unseen = [label for label in task.classes if label not in shown]
            sentences.append(
                sentence + (f"; train never shows {', '.join(unseen)}: never answered" if unseen else "")
            )
    return sentences


def _shown(task: Task, targets: np.ndarray) -> list[str]:
    """The classes that occur among targets."""
    labelled = targets[is_labelled(targets)]
    if task.kind == "multilabel":
        return [label for column, label in enumerate(task.classes) if labelled[:, column].any()]
    return [task.classes[number] for number in np.unique(labelled)]


def render_page(predictions: Predictions, test: pd.DataFrame, data: ReportData, figures: Path) -> str:
    """The HTML document; `figures` is the folder of the SVGs to embed."""
    counts = {
        "utterances": len(predictions.rows),
        "groups": predictions.groups()[1],
        "seeds": predictions.num_seeds,
    }
    of_kind: dict[str, Kind] = {task: predictions.task(task).kind for task in predictions.classes}
    kinds: dict[str, Any] = {
        kind: {
            "tasks": [task for task in of_kind if of_kind[task] == kind],
            "titles": {name: TITLES[name] for name in METRICS[kind]},
        }
        for kind in dict.fromkeys(of_kind.values())
    }
    lead = next(iter(predictions.classes))
    return templates.render(
        TEMPLATE,
        counts=counts,
        lead=lead,
        metric_of_lead=MAIN_METRIC[of_kind[lead]],
        kinds=kinds,
        main={task: TITLES[MAIN_METRIC[predictions.task(task).kind]] for task in predictions.classes},
        gap=data.board["selection_gap"][data.chosen.task],
        titles=TITLES,
        models=predictions.models(),
        data=data,
        tested={task: result for task, result in data.compared.items() if "difference" in result},
        figures={task: _figures(_of_task(figures, task, predictions.models())) for task in predictions.classes},
        missing=_missing(data.robust),
        calibration=_calibration(data.calibrated),
        slices={task: _slices(data.slices[task]) for task in predictions.classes},
        dialogues=_dialogues(predictions, test),
    )


def _of_task(figures: Path, task: str, models: Sequence[str]) -> list[Path]:
    """The task's figures, by exact file name: one task's name may be a part of another's."""
    names = ["missing_rate", "risk_coverage", "reliability", "classes", "numbers"]
    paths = [figures / f"{name}_{task}.svg" for name in names]
    paths += [figures / f"confusion_{task}_{model}.svg" for model in models]
    return [path for path in paths if path.is_file()]


def _figures(paths: Iterable[Path]) -> dict[str, str]:
    """Content of each file in base64, by its name without suffix."""
    return {path.stem: base64.b64encode(path.read_bytes()).decode() for path in sorted(paths)}


def _missing(robust: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Macro F1 and the percentage of the full score by condition, a column for each model and task."""
    columns = {f"{model}, {task}": robust[model][task] for model in robust for task in robust[model]}
    names = dict.fromkeys(name for by_condition in columns.values() for name in by_condition)
    rows = {
        name: [(by_condition.get(name), _percentage(by_condition, name)) for by_condition in columns.values()]
        for name in names
    }
    return {"columns": list(columns), "rows": rows, "summaries": SUMMARIES}


def _percentage(by_condition: Mapping[str, float], name: str) -> float | None:
    """Percentage of the full score; None for the full score itself, for a summary and where it is not defined."""
    value, full = by_condition.get(name, np.nan), by_condition[FULL]
    return None if np.isnan(value) or name in (FULL, *SUMMARIES) or not full > 0 else 100 * value / full


def _calibration(measures: Mapping[str, Mapping[str, Mapping]]) -> dict[str, Any]:
    """Calibration measures of each model and task that has a head, and the classes of all."""
    columns = {f"{m}, {t}": measured for m, tasks in measures.items() for t, measured in tasks.items() if measured}
    classes = dict.fromkeys(
        label for measured in columns.values() for label in measured.get("coverage_by_class", ())
    )
    return {"columns": columns, "classes": list(classes)}


def _slices(table: pd.DataFrame) -> dict[str, Any]:
    """The titles of the columns, and the rows of each slice, one for each model."""
    rows = {name: list(of_slice.itertuples()) for name, of_slice in table.groupby("slice", sort=False)}
    measured = [name for name in table.columns if name in TITLES]
    scores = [f"{model}, {TITLES[name]}" for model in table["model"].drop_duplicates() for name in measured]
    return {
        "measured": measured,
        "titles": ["worst of the larger slices: bold", "utterances", *scores],
        "rows": rows,
    }


def _dialogues(predictions: Predictions, test: pd.DataFrame) -> list[dict[str, Any]] | None:
    """The least and the most accurate dialogues by the student's mean probabilities of the first classification."""
    task = next((one for one in predictions.outputs if predictions.task(one).kind == "classification"), None)
    if task is None:
        return None
    probability = predictions.values(task, "student", [FULL])[:, 0].mean(0)  # (N, C)
    order, actual = np.array(predictions.classes[task]), predictions.actual(task)
    rows = test[["corpus", "dialogue", "utterance", "speaker", "text"]].assign(
        actual=[order[label] if label >= 0 else "-" for label in actual],
        answer=order[probability.argmax(-1)],
        sure=probability.max(-1),
        right=probability.argmax(-1) == actual,
        labelled=actual >= 0,
    )
    return [_dialogue(dialogue) for dialogue in _worst_and_best(rows)]


def _worst_and_best(rows: pd.DataFrame) -> list[pd.DataFrame]:
    dialogues = dict(list(rows.groupby(["corpus", "dialogue"], sort=False)))
    labelled = {key: dialogue["right"][dialogue["labelled"]] for key, dialogue in dialogues.items()}
    accuracy = {key: is_right.mean() for key, is_right in labelled.items() if len(is_right) >= MIN_LABELLED}
    ranked = sorted(accuracy, key=accuracy.__getitem__)  # stable: ties in the order of the split
    return [dialogues[key] for key in dict.fromkeys([*ranked[:SHOWN_DIALOGUES], *ranked[-SHOWN_DIALOGUES:]])]


def _dialogue(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "corpus": rows["corpus"].iloc[0],
        "dialogue": rows["dialogue"].iloc[0],
        "right": rows["right"][rows["labelled"]].sum(),
        "labelled": rows["labelled"].sum(),
        "utterances": list(rows.itertuples()),
    }

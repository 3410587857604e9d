"""What the rows of a predictions file say of a task: probabilities, labels as ones and zeros, or numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from merc.data.records.labels import EVERY_CORPUS, Task
from merc.evaluation.prediction_arrays import PARTS_OF
from merc.runtime.errors import UserError
from merc.studies.scoring import prediction_table, protocols
from merc.studies.scoring.prediction_table import TableFile

TOLERANCE = 5e-3  # of a row's sum of probabilities: enough for those written with three decimals
HALF = 0.5  # a class of a multilabel task above it is answered
SETS = ";"  # between the labels of a multilabel task


def task_values(
    task: Task, corpus: str, file: TableFile, batch: pa.RecordBatch, lines: np.ndarray
) -> dict[str, np.ndarray]:
    """{part: (n, C)} of a task; {} where evaluate's networks had no head for it."""
    name, columns, kind = task.name, file.columns[task.name], file.kinds[task.name]
    if kind == "parts":
        arrays = prediction_table.parts(batch, columns)
        if arrays is None:
            return {}
        permuted = [file.orders[name].index(label) for label in task.outputs]
        whole = task.kind == "regression"  # the interval has two numbers
        parts = PARTS_OF[task.kind]
        return dict(zip(parts, (each if whole else each[:, permuted] for each in arrays), strict=True))
    if kind == "numbers":
        return {"value": _numbers(task, file, batch, lines)}
    if task.kind == "multilabel":
        values = (
            _sets(task, corpus, file, batch, lines)
            if kind == "labels"
            else _shares(file, columns, batch, lines, 1.0)
        )
        return {"raw": values, "set": values > HALF}
    if kind == "labels":
        return {"raw": _labels(task, corpus, file, batch, lines)}
    values = _shares(file, columns, batch, lines)
    sums = values.sum(1)
    wrong = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if len(wrong):
        raise UserError(
            f"{_place(file, lines, wrong)}: the {name} probabilities sum to {sums[wrong[0]]:.4f}, "
            f"not to 1 ({len(wrong)} such rows near there)"
        )
    return {"raw": values}


def _place(file: TableFile, lines: np.ndarray, wrong: np.ndarray) -> str:
    return f"{file.path} {file.line(int(lines[wrong[0]]))}"


def _shares(
    file: TableFile, columns: Sequence[str], batch: pa.RecordBatch, lines: np.ndarray, most: float = np.inf
) -> np.ndarray:
    """(n, C) numbers from 0 to `most`; of a classification their sum is judged instead."""
    values = prediction_table.numbers(batch, columns)
    is_right = np.isfinite(values) & (values >= 0) & (values <= most)
    wrong = np.flatnonzero(~is_right.all(1))
    if len(wrong):
        row, column = wrong[0], int(np.argmin(is_right[wrong[0]]))
        raise UserError(
            f"{_place(file, lines, wrong)}: {columns[column]} = {values[row, column]:g}: is no probability"
        )
    return values


def _numbers(task: Task, file: TableFile, batch: pa.RecordBatch, lines: np.ndarray) -> np.ndarray:
    """(n, 1), within the task's range, as the answers of merc's networks are."""
    values = prediction_table.numbers(batch, [task.name])
    wrong = np.flatnonzero(~np.isfinite(values[:, 0]))
    if len(wrong):
        raise UserError(f"{_place(file, lines, wrong)}: {task.name} is no number; write one for every utterance")
    return values.clip(task.low, task.high)


def _labels(task: Task, corpus: str, file: TableFile, batch: pa.RecordBatch, lines: np.ndarray) -> np.ndarray:
    """(n, C) bool: the class of each row."""
    codes, names = prediction_table.strings(batch, task.name)
    numbers = np.append(_class_numbers(task, names), -1)[codes]
    wrong = np.flatnonzero(numbers < 0)
    if len(wrong):
        code = codes[wrong[0]]
        raise _unknown(task, corpus, _place(file, lines, wrong), names[code] if code >= 0 else "")
    return numbers[:, None] == np.arange(len(task.classes))


def _sets(task: Task, corpus: str, file: TableFile, batch: pa.RecordBatch, lines: np.ndarray) -> np.ndarray:
    """(n, C) float32 of 0 and 1: the classes of each row, `happy; sad`; an empty cell, or `;` alone, names none."""
    codes, cells = prediction_table.strings(batch, task.name)
    held = np.zeros((len(cells) + 1, len(task.classes)), np.float32)
    for number, cell in enumerate(cells):
        words = [word for part in cell.split(SETS) if (word := part.strip())]
        classes = _class_numbers(task, words)
        if (classes < 0).any():
            wrong = np.flatnonzero(codes == number)
            raise _unknown(task, corpus, _place(file, lines, wrong), words[int(np.argmin(classes))])
        held[number, classes] = 1.0
    return held[codes]


def _class_numbers(task: Task, names: Sequence[str]) -> np.ndarray:
    """The class of each name, in any case; -1 for none."""
    order = pd.Index([label.casefold() for label in task.classes])
    return order.get_indexer(pd.Index([name.strip().casefold() for name in names], dtype=object))


def _unknown(task: Task, corpus: str, place: str, label: str) -> UserError:
    known = {**task.maps.get(EVERY_CORPUS, {}), **task.maps.get(corpus, {})}
    near = protocols.suggestion(label, task.classes, known) if label else ""
    return UserError(f"{place}: {task.name} {label!r} is none of {', '.join(task.classes)}{near}")

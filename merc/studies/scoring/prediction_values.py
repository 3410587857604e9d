"""What the rows of a predictions file say of a task: checked probabilities, or labels as one-hot rows."""

import numpy as np
import pandas as pd
import pyarrow as pa

from merc.data.records.labels import EVERY_CORPUS, LabelSpace
from merc.evaluation.predictions import PARTS
from merc.runtime.errors import UserError
from merc.studies.scoring import prediction_table, protocols
from merc.studies.scoring.prediction_table import TableFile

TOLERANCE = 5e-3  # of a row's sum of probabilities: enough for those written with three decimals


def task_values(
    space: LabelSpace, corpus: str, file: TableFile, task: str, batch: pa.RecordBatch, lines: np.ndarray
) -> dict[str, np.ndarray]:
    """{part: (n, C)} of a task; {} where evaluate's networks had no head for it."""
    order, columns = space.outputs[task], file.columns[task]
    if file.kinds[task] == "labels":
        return {"raw": _labels(space, corpus, file, task, batch, lines)}
    if file.kinds[task] == "parts":
        arrays = prediction_table.parts(batch, columns, len(order))
        permuted = [file.orders[task].index(label) for label in order]
        return {} if arrays is None else dict(zip(PARTS, (each[:, permuted] for each in arrays), strict=True))
    values = prediction_table.numbers(batch, columns)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)).all(1))
    if len(wrong):
        row, column = wrong[0], int(np.argmin((values[wrong[0]] >= 0) & np.isfinite(values[wrong[0]])))
        raise UserError(
            f"{file.path} {file.line(int(lines[row]))}: {columns[column]} = {values[row, column]:g}: "
            "is no probability"
        )
    sums = values.sum(1)
    wrong = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if len(wrong):
        raise UserError(
            f"{file.path} {file.line(int(lines[wrong[0]]))}: the {task} probabilities sum to {sums[wrong[0]]:.4f}, "
            f"not to 1 ({len(wrong)} such rows near there)"
        )
    return {"raw": values}


def _labels(
    space: LabelSpace, corpus: str, file: TableFile, task: str, batch: pa.RecordBatch, lines: np.ndarray
) -> np.ndarray:
    order, maps = space.outputs[task], space.tasks[task].maps
    codes, names = prediction_table.strings(batch, task)
    index = pd.Index(order).get_indexer(pd.Index([name.strip().lower() for name in names], dtype=object))
    numbers = np.append(index, -1)[codes]
    wrong = np.flatnonzero(numbers < 0)
    if len(wrong):
        code = codes[wrong[0]]
        label = names[code] if code >= 0 else ""
        known = {**maps.get(EVERY_CORPUS, {}), **maps.get(corpus, {})}
        near = protocols.suggestion(label, order, known) if label else ""
        raise UserError(
            f"{file.path} {file.line(int(lines[wrong[0]]))}: {task} {label!r} is none of {', '.join(order)}{near}"
        )
    return numbers[:, None] == np.arange(len(order))

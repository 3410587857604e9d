"""The columns of a predictions file, and its rows in batches: CSV, parquet, or evaluate's own parquet.

Files may have millions of rows (utterances x seeds x conditions), so pyarrow reads them a block at a time with
repeated strings as dictionaries; no Python code runs once a row.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from merc.data.records.labels import LabelSpace
from merc.evaluation.prediction_arrays import PARTS_OF
from merc.runtime.errors import UserError
from merc.studies.scoring.protocols import suggestion

ID_COLUMNS = (
    "corpus",
    "split",
    "model",
    "condition",
    "dialogue",
    "utterance",
)  # strings; utterance alone is needed
SEED = "seed"
SEPARATOR = "="  # emotion=joy: a column of probabilities
BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class TableFile:
    """A predictions file, and what its columns hold."""

    path: Path
    model: str | None  # the rows to read: FILE#MODEL
    ids: tuple[str, ...]  # those of ID_COLUMNS and SEED that it has
    columns: dict[str, tuple[str, ...]]  # task -> its columns: one of answers, a class each, or evaluate's parts
    kinds: dict[str, str]  # task -> labels, numbers, probabilities or parts
    orders: dict[str, tuple[str, ...]]  # task -> its classes in the file's order, for evaluate's parts

    @property
    def name(self) -> str:
        """Name of the system."""
        return self.model or self.path.stem

    @property
    def is_csv(self) -> bool:
        """Whether lines are counted after a header."""
        return self.path.suffix != ".parquet"

    def line(self, row: int | np.integer) -> str:
        """Where the row with this number, from 0, is found."""
        return f"line {row + 2}" if self.is_csv else f"row {row + 1}"

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of rows, each with the number of its first row."""
        first = 0
        try:
            for batch in self._csv() if self.is_csv else self._parquet():
                if len(batch):
                    yield first, batch
                first += len(batch)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{self.path}: cannot be read: {' '.join(str(error).split())}") from None

    def _wanted(self) -> list[str]:
        return [*self.ids, *(column for columns in self.columns.values() for column in columns)]

    def _csv(self) -> Iterator[pa.RecordBatch]:
        text = pa.dictionary(pa.int32(), pa.string())
        types: dict[str, pa.DataType] = dict.fromkeys(self.ids, text) | {SEED: pa.int64()}
        for task, columns in self.columns.items():
            types |= dict.fromkeys(columns, text if self.kinds[task] == "labels" else pa.float32())
        yield from pa_csv.open_csv(
            self.path,
            read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            convert_options=pa_csv.ConvertOptions(include_columns=self._wanted(), column_types=types),
        )

    def _parquet(self) -> Iterator[pa.RecordBatch]:
        text = [name for name in self.ids if name != SEED]
        text += [name for task, names in self.columns.items() if self.kinds[task] == "labels" for name in names]
        for batch in pq.ParquetFile(self.path).iter_batches(batch_size=1 << 17, columns=self._wanted()):
            columns = [
                _encoded(column) if name in text else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _encoded(column: pa.Array) -> pa.Array:
    is_dictionary = pa.types.is_dictionary(column.type)
    return (column.dictionary_decode() if is_dictionary else column).cast(pa.string()).dictionary_encode()


def open_table(word: str, space: LabelSpace) -> TableFile:
    """The file that a word of the command line names, FILE or FILE#MODEL, with its columns checked."""
    name, _, model = word.rpartition("#") if "#" in word and not Path(word).is_file() else (word, "", "")
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{path}: not there; name a CSV or parquet file of predictions (docs/score.md)")
    names, orders = _header(path)
    if len(set(names)) < len(names):
        double = next(each for each in names if names.count(each) > 1)
        raise UserError(f"{path}: has two columns {double!r}; remove one")
    if "utterance" not in names:
        raise UserError(f"{path}: has no column 'utterance', but {_listed(names)}; docs/score.md has the format")
    columns: dict[str, tuple[str, ...]] = {}
    kinds: dict[str, str] = {}
    for task, order in space.outputs.items():
        kind = space.tasks[task].kind
        if orders:
            parts = tuple(f"{task}_{part}" for part in PARTS_OF[kind])
            if set(orders.get(task, ())) != set(order) or not set(parts) <= set(names):
                raise UserError(f"{path}: its {task} labels are {_listed(orders.get(task, ()))}; name its --labels")
            columns[task], kinds[task] = parts, "parts"
        elif probabilities := [each for each in names if each.startswith(task + SEPARATOR)]:
            _check_classes(path, task, order, probabilities)
            if task in names:
                raise UserError(f"{path}: has {task!r} and {probabilities[0]!r}: labels or probabilities, not both")
            columns[task], kinds[task] = tuple(f"{task}{SEPARATOR}{label}" for label in order), "probabilities"
        elif task in names:
            columns[task], kinds[task] = (task,), "numbers" if kind == "regression" else "labels"
    if not columns:
        first = next((task for task in space.tasks.values() if task.classes), None)
        by_class = f", nor one a class, as {first.name}{SEPARATOR}{first.classes[0]}" if first else ""
        raise UserError(f"{path}: has no column {' or '.join(space.tasks)}{by_class}, but {_listed(names)}")
    ids = tuple(each for each in (*ID_COLUMNS, SEED) if each in names)
    if model and "model" not in ids:
        raise UserError(f"{word}: {path} has no column 'model'; name the file alone")
    return TableFile(path, model or None, ids, columns, kinds, orders)


def _header(path: Path) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The columns' names, and the order of the classes if evaluate wrote the file."""
    try:
        if path.suffix == ".parquet":
            schema = pq.read_schema(path)
            classes = json.loads((schema.metadata or {}).get(b"merc", b"{}"))
            return schema.names, {task: tuple(order) for task, order in classes.items()}
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), []), {}
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None


def _check_classes(path: Path, task: str, order: Sequence[str], probabilities: Sequence[str]) -> None:
    if order == (task,):
        raise UserError(f"{path}: {probabilities[0]!r}: {task} is a number; write it into a column {task!r}")
    named = [each.removeprefix(task + SEPARATOR) for each in probabilities]
    missing = [label for label in order if label not in named]
    for label in named:
        if label not in order:
            raise UserError(f"{path}: column {task}{SEPARATOR}{label} is no class{suggestion(label, missing)}")
    if missing:
        raise UserError(
            f"{path}: has no column {task}{SEPARATOR}{missing[0]}; write 0 for a class that is never predicted"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:6])
    return (shown + ", ..." if len(names) > 6 else shown) or "nothing"


def strings(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray, list[str]]:
    """(n,) codes, -1 where empty, and the strings that they stand for."""
    column = batch.column(name)
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, [value if value is not None else "" for value in column.dictionary.to_pylist()]


def numbers(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    """(n, columns) float32; NaN where a cell is empty."""
    columns = [batch.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False) for name in names]
    return np.stack(columns, axis=1)


def parts(batch: pa.RecordBatch, names: Sequence[str]) -> list[np.ndarray] | None:
    """Evaluate's (n, C) arrays, of an interval (n, 2); None for a task without a head."""
    columns = [batch.column(name) for name in names]
    if any(column.null_count for column in columns):
        return None
    return [column.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1) for column in columns]

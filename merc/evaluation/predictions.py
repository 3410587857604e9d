"""Predictions of every model for every test utterance under every condition; all scores are computed from them."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merc.data.records import labels
from merc.data.records.labels import Kind, Task
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.prediction_arrays import PARTS_OF, PredictionArrays
from merc.runtime.errors import UserError
from merc.training.core.task_scores import TaskScores, task_scores

PREDICTIONS_FILE = Path("out/evaluate/predictions.parquet")
ID_COLUMNS = ("corpus", "dialogue", "utterance", "group")
ROWS_PER_GROUP = 2**19  # of the file: 150 MB of 7 emotions and 3 sentiments in memory at once
PROBABILITY_DECIMALS = 6  # rounding compresses the file and is far too fine to change a score


class BlockKey(NamedTuple):
    """Identifies a block: the predictions of one network under one condition."""

    model: str
    seed: int
    condition: str


@dataclass(frozen=True)
class Predictions:
    """K blocks of predictions for the same N utterances, in the manifest's order."""

    # N rows: identifying columns, then each task's actual label, or None: a string, a list of strings or a number
    rows: pd.DataFrame
    classes: dict[str, tuple[str, ...]]  # task -> its C labels, in the order of the arrays' last axis
    keys: tuple[BlockKey, ...]
    outputs: PredictionArrays  # task -> part -> (K, N, C), maybe in files; without tasks that have no head
    kinds: dict[str, tuple[Kind, float, float]] = field(default_factory=dict)  # if no classification: kind, range
    votes: dict[str, np.ndarray] = field(default_factory=dict)  # task -> (N, C) shares of the annotators' votes

    def task(self, name: str) -> Task:
        """What the task's answers are."""
        kind, low, high = self.kinds.get(name, ("classification", 0.0, 0.0))
        return Task(name, kind, () if kind == "regression" else self.classes[name], low, high)

    def measure(self, task: str) -> TaskScores:
        """How the task is scored."""
        return task_scores(self.task(task))

    def actual(self, task: str) -> np.ndarray:
        """The labels as Task.targets; of a classification (N,) indices, UNLABELLED where there is no label."""
        return self._actual[task]

    @cached_property
    def _actual(self) -> dict[str, np.ndarray]:
        return {task: self._targets(task) for task in self.classes}

    def _targets(self, task: str) -> np.ndarray:
        values, kind = self.rows[task], self.task(task).kind
        if kind == "regression":
            return values.to_numpy(dtype=float, na_value=np.nan)
        if kind == "multilabel":
            none = [np.nan] * len(self.classes[task])
            held = [
                none if each is None else [float(name in each) for name in self.classes[task]] for each in values
            ]
            return np.array(held).reshape(len(values), len(self.classes[task]))
        indices = {label: index for index, label in enumerate(self.classes[task])}
        return np.array([indices.get(label, labels.UNLABELLED) for label in values], dtype=np.int64)

    def labelled(self, task: str) -> np.ndarray:
        """(N,) bool: the rows with a label."""
        return labels.is_labelled(self.actual(task))

    def groups(self) -> tuple[np.ndarray, int]:
        """(N,) the group index of each row, and the number of groups."""
        return self._groups

    @cached_property
    def _groups(self) -> tuple[np.ndarray, int]:
        indices, names = pd.factorize(self.rows["group"])
        return indices, len(names)

    def models(self) -> list[str]:
        """The models' names, in the order of the blocks."""
        return list(dict.fromkeys(key.model for key in self.keys))

    def conditions(self, model: str) -> list[str]:
        """The conditions under which a model was evaluated."""
        return list(dict.fromkeys(key.condition for key in self.keys if key.model == model))

    @property
    def num_seeds(self) -> int:
        """The number of training seeds."""
        return len({key.seed for key in self.keys})

    def take(self, rows: np.ndarray) -> "Predictions":
        """The predictions for the utterances selected by `rows` (N,) bool."""
        outputs = {
            task: {part: values[:, rows] for part, values in parts.items()} for task, parts in self.outputs.items()
        }
        votes = {task: shares[rows] for task, shares in self.votes.items()}
        return replace(self, rows=self.rows[rows].reset_index(drop=True), outputs=outputs, votes=votes)

    def take_seeds(self, seeds: Collection[int]) -> "Predictions":
        """The predictions of some training seeds."""
        return self._take_blocks([key.seed in seeds for key in self.keys])

    def take_conditions(self, *conditions: str) -> "Predictions":
        """The predictions under some conditions."""
        return self._take_blocks([key.condition in conditions for key in self.keys])

    def _take_blocks(self, is_taken: Sequence[bool]) -> "Predictions":
        selected = np.array(is_taken, dtype=bool)
        outputs = {
            task: {part: values[selected] for part, values in parts.items()} for task, parts in self.outputs.items()
        }
        return replace(self, keys=tuple(compress(self.keys, is_taken)), outputs=outputs)

    def blocks(self, model: str, conditions: Sequence[str]) -> np.ndarray:
        """(S, len(conditions)) indices of the model's blocks, a row per seed that has all the conditions."""
        index = self._numbers
        all_seeds = sorted({key.seed for key in self.keys if key.model == model})
        seeds = [seed for seed in all_seeds if all(BlockKey(model, seed, name) in index for name in conditions)]
        return np.array([[index[BlockKey(model, seed, name)] for name in conditions] for seed in seeds])

    @cached_property
    def _numbers(self) -> dict[BlockKey, int]:
        return {key: number for number, key in enumerate(self.keys)}

    def values(self, task: str, model: str, conditions: Sequence[str], part: str = "probability") -> np.ndarray:
        """(S, len(conditions), N, C) one part of a model's predictions."""
        return self.outputs[task][part][self.blocks(model, conditions)]

    def predicted(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), N) indices of the most probable labels, or numbers; (..., C) bool if multilabel."""
        kind = self.task(task).kind
        if kind == "multilabel":
            return self.values(task, model, conditions, "set")
        if kind == "regression":
            return self.values(task, model, conditions, "value")[..., 0]
        return self.values(task, model, conditions).argmax(-1)

    def group_confusions(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), G, C, C) confusion matrices of each group; all 0 if the task has no head.

        Of a task of another kind: the sums that its `measure` takes.
        """
        return self._count_confusions(task, model, conditions, *self.groups())

    def confusions(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), C, C) confusion matrices, or sums; all 0 if the task has no head."""
        single_group = np.zeros(len(self.rows), np.int64)
        return self._count_confusions(task, model, conditions, single_group, 1)[:, :, 0]

    def _count_confusions(
        self, task: str, model: str, conditions: Sequence[str], group: np.ndarray, num_groups: int
    ) -> np.ndarray:
        measure, actual = self.measure(task), self.actual(task)
        if task not in self.outputs:
            one = measure.sums(actual[:0], actual[:0] > 0, group[:0], num_groups)
            return np.zeros((*self.blocks(model, conditions).shape, *one.shape), np.int64)
        return measure.sums(actual, self.predicted(task, model, conditions), group, num_groups)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write one row per block and utterance, some blocks at a time; the metadata holds the label orders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = predictions.rows
    columns = {name: _strings(rows[name]) for name in ID_COLUMNS}
    columns |= {
        task: _labels(cast("pd.Series", rows[task]), predictions.task(task).kind) for task in predictions.classes
    }
    votes = {f"{task}_votes": pa.array(list(shares)) for task, shares in predictions.votes.items()}
    classes = json.dumps({task: list(order) for task, order in predictions.classes.items()}, sort_keys=True)
    kinds = {"kinds": json.dumps(predictions.kinds, sort_keys=True)} if predictions.kinds else {}
    schema = pa.table(_block(predictions, 0, columns, votes)).schema.with_metadata({"merc": classes} | kinds)
    at_once = max(ROWS_PER_GROUP // max(len(rows), 1), 1)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, len(predictions.keys), at_once):
            numbers = range(first, min(first + at_once, len(predictions.keys)))
            tables = [pa.table(_block(predictions, number, columns, votes), schema) for number in numbers]
            table = pa.concat_tables(tables).unify_dictionaries()
            writer.write_table(table, row_group_size=max(len(table), 1))


def _block(
    predictions: Predictions, number: int, columns: dict[str, pa.Array], votes: dict[str, pa.Array]
) -> dict[str, pa.Array]:
    """The columns of one block; those of the rows, and of their votes, are the same in all of them."""
    key, size = predictions.keys[number], len(predictions.rows)
    named = {"model": _strings([key.model] * size), "condition": _strings([key.condition] * size)}
    named["seed"] = pa.array(np.full(size, key.seed, np.int32))
    answers = {
        f"{task}_{part}": _lists(predictions, task, part, number, dtype)
        for task in predictions.classes
        for part, dtype in PARTS_OF[predictions.task(task).kind].items()
    }
    return columns | named | answers | votes


def _strings(values: Iterable[str | None]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()


def _labels(values: pd.Series, kind: Kind) -> pa.Array:
    if kind == "classification":
        return _strings(values)
    return pa.array(
        values.tolist(), pa.float64() if kind == "regression" else pa.list_(pa.string()), from_pandas=True
    )


def _lists(predictions: Predictions, task: str, part: str, number: int, dtype: pa.DataType) -> pa.Array:
    if task not in predictions.outputs:
        return pa.nulls(len(predictions.rows), pa.list_(dtype))
    block = predictions.outputs[task][part][number]
    offsets = np.arange(len(block) + 1, dtype=np.int32) * block.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(block.ravel(), dtype))


def read_predictions(path: Path = PREDICTIONS_FILE) -> Predictions:
    """Read a predictions file, which can be scored again without the models."""
    if not path.is_file():
        raise UserError(f"{path}: not there; run `dvc repro evaluate`")
    table = _table(path)
    keys = _keys(table)
    size = len(table) // max(len(keys), 1)
    classes = {task: tuple(order) for task, order in json.loads(table.schema.metadata[b"merc"]).items()}
    kinds = {task: tuple(kind) for task, kind in json.loads(table.schema.metadata.get(b"kinds", "{}")).items()}
    first = table.slice(0, size)
    rows = first.select([*ID_COLUMNS, *classes]).to_pandas().astype(object)
    of_kind = {task: kinds.get(task, ("classification",))[0] for task in classes}
    votes = {task: first[f"{task}_votes"].to_pylist() for task in classes if f"{task}_votes" in table.column_names}
    return Predictions(
        rows=rows.where(rows.notna(), None) if kinds else rows,
        classes=classes,
        keys=keys,
        outputs={t: parts for t, kind in of_kind.items() if (parts := _parts(table, t, kind, len(keys), size))},
        kinds=kinds,
        votes={task: np.array(shares, dtype=np.float32) for task, shares in votes.items()},
    )


def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as parquet ({str(error).splitlines()[0]})") from None
    if b"merc" not in (table.schema.metadata or {}):
        raise UserError(f"{path}: no predictions file of merc; name an out/evaluate/predictions.parquet")
    return table


def _keys(table: pa.Table) -> tuple[BlockKey, ...]:
    """The blocks in the file's order: rows of a block are contiguous."""
    columns = table.select(["model", "seed", "condition"]).to_pandas().drop_duplicates()
    return tuple(
        BlockKey(model, int(seed), condition) for model, seed, condition in columns.itertuples(index=False)
    )


def _parts(table: pa.Table, task: str, kind: Kind, blocks: int, size: int) -> dict[str, np.ndarray]:
    """{part: (blocks, size, C)} of a task; {} for a task without a head."""
    columns = {part: table[f"{task}_{part}"].combine_chunks() for part in PARTS_OF[kind]}
    if any(column.null_count for column in columns.values()):
        return {}
    return {
        part: column.flatten().to_numpy(zero_copy_only=False).reshape(blocks, size, -1)
        for part, column in columns.items()
    }

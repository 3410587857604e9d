"""What every model answered to every test utterance under every condition; all scores are computed from this."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merc import labels, scores
from merc.conditions import FULL
from merc.problem import Problem

FILE = Path("out/evaluate/predictions.parquet")
ROW = ("corpus", "dialogue", "utterance", "group")
# per task: before calibration, after it, and whether the class is in the conformal set
PARTS = {"raw": pa.float32(), "probability": pa.float32(), "set": pa.bool_()}
PROBABILITY_DECIMALS = 6  # of a probability; compresses, and is far below what a score sees


class Key(NamedTuple):
    """Whose answers: a block of the file."""

    model: str
    seed: int
    condition: str


@dataclass(frozen=True)
class Predictions:
    """K blocks of answers to the same N utterances, in the manifest's order."""

    rows: pd.DataFrame  # N rows: ROW, then the actual label of each task (a word, or None)
    orders: dict[str, tuple[str, ...]]  # task -> its C labels, in the order of the arrays below
    keys: tuple[Key, ...]
    answers: dict[str, dict[str, np.ndarray]]  # task -> part -> (K, N, C); a task without a head is not in it

    def actual(self, task: str) -> np.ndarray:
        """(N,) label numbers, UNLABELLED where there is none."""
        numbers = {label: number for number, label in enumerate(self.orders[task])}
        return np.array([numbers.get(label, labels.UNLABELLED) for label in self.rows[task]], dtype=np.int64)

    def groups(self) -> tuple[np.ndarray, int]:
        """(N,) the group's number of each row, and how many there are."""
        numbers, names = pd.factorize(self.rows["group"])
        return numbers, len(names)

    def models(self) -> list[str]:
        """Whose answers there are, in the order they were asked."""
        return list(dict.fromkeys(key.model for key in self.keys))

    def conditions(self, model: str) -> list[str]:
        """Under which conditions a model was asked."""
        return list(dict.fromkeys(key.condition for key in self.keys if key.model == model))

    def seeds(self) -> int:
        """How many training seeds were asked."""
        return len({key.seed for key in self.keys})

    def only(self, rows: np.ndarray) -> "Predictions":
        """The answers to some utterances, (N,) bool."""
        answers = {task: {p: own[:, rows] for p, own in parts.items()} for task, parts in self.answers.items()}
        return replace(self, rows=self.rows[rows].reset_index(drop=True), answers=answers)

    def of_seeds(self, seeds: Collection[int]) -> "Predictions":
        """The answers of some training seeds."""
        kept = np.array([key.seed in seeds for key in self.keys], dtype=bool)
        answers = {task: {p: own[kept] for p, own in parts.items()} for task, parts in self.answers.items()}
        return replace(self, keys=tuple(key for key in self.keys if key.seed in seeds), answers=answers)

    def blocks(self, model: str, conditions: Sequence[str]) -> np.ndarray:
        """(S, len(conditions)) numbers of the model's blocks, a row a seed that was asked under all of them."""
        where = {key: number for number, key in enumerate(self.keys)}
        every = sorted({key.seed for key in self.keys if key.model == model})
        seeds = [seed for seed in every if all((model, seed, each) in where for each in conditions)]
        return np.array([[where[Key(model, seed, each)] for each in conditions] for seed in seeds])

    def of(self, task: str, model: str, conditions: Sequence[str], part: str = "probability") -> np.ndarray:
        """(S, len(conditions), N, C) one part of a model's answers."""
        return self.answers[task][part][self.blocks(model, conditions)]

    def predicted(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), N) the most probable label's number."""
        return self.of(task, model, conditions).argmax(-1)

    def counts(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), G, C, C) confusion matrices of each group; all 0 if the task has no answers."""
        return self._counted(task, model, conditions, *self.groups())

    def matrices(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), C, C) confusion matrices; all 0 if the task has no answers."""
        together = np.zeros(len(self.rows), np.int64)
        return self._counted(task, model, conditions, together, 1)[:, :, 0]

    def _counted(
        self, task: str, model: str, conditions: Sequence[str], group: np.ndarray, groups: int
    ) -> np.ndarray:
        classes = len(self.orders[task])
        if task not in self.answers:
            return np.zeros((*self.blocks(model, conditions).shape, groups, classes, classes), np.int64)
        predicted = self.predicted(task, model, conditions)
        return scores.grouped_confusion(self.actual(task), predicted, group, groups, classes)


def write(path: Path, predictions: Predictions) -> None:
    """Write one row per block and utterance; the label orders travel in the schema's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = [_block(predictions, number, key) for number, key in enumerate(predictions.keys)]
    table = pa.concat_tables(blocks).unify_dictionaries()
    orders = json.dumps({task: list(order) for task, order in predictions.orders.items()}, sort_keys=True)
    table = table.replace_schema_metadata({"merc": orders})
    pq.write_table(table, path, compression="zstd", row_group_size=max(len(table), 1))


def _block(predictions: Predictions, number: int, key: Key) -> pa.Table:
    rows = predictions.rows
    columns = {name: _words(rows[name]) for name in (*ROW, *labels.TASKS)}
    columns |= {"model": _words([key.model] * len(rows)), "condition": _words([key.condition] * len(rows))}
    columns["seed"] = pa.array(np.full(len(rows), key.seed, np.int32))
    for task in labels.TASKS:
        for part, kind in PARTS.items():
            columns[f"{task}_{part}"] = _lists(predictions, task, part, number, kind)
    return pa.table(columns)


def _words(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()


def _lists(predictions: Predictions, task: str, part: str, number: int, kind: pa.DataType) -> pa.Array:
    if task not in predictions.answers:
        return pa.nulls(len(predictions.rows), pa.list_(kind))
    block = predictions.answers[task][part][number]
    offsets = np.arange(len(block) + 1, dtype=np.int32) * block.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(block.ravel(), kind))


def read(path: Path = FILE) -> Predictions:
    """Read what `write` wrote: to score it anew needs no model."""
    if not path.is_file():
        raise Problem(f"{path}: not there; run `dvc repro evaluate`")
    table = _table(path)
    keys = _keys(table)
    size = len(table) // max(len(keys), 1)
    orders = {task: tuple(order) for task, order in json.loads(table.schema.metadata[b"merc"]).items()}
    return Predictions(
        rows=table.slice(0, size).select([*ROW, *labels.TASKS]).to_pandas().astype(object),
        orders=orders,
        keys=keys,
        answers={task: found for task in labels.TASKS if (found := _answers(table, task, len(keys), size))},
    )


def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise Problem(f"{path}: cannot be read as parquet ({str(error).splitlines()[0]})") from None
    if b"merc" not in (table.schema.metadata or {}):
        raise Problem(f"{path}: no predictions file of merc; name an out/evaluate/predictions.parquet")
    return table


def _keys(table: pa.Table) -> tuple[Key, ...]:
    """The blocks in the file's order: rows of a block are contiguous."""
    columns = table.select(["model", "seed", "condition"]).to_pandas().drop_duplicates()
    return tuple(Key(model, int(seed), condition) for model, seed, condition in columns.itertuples(index=False))


def _answers(table: pa.Table, task: str, blocks: int, size: int) -> dict[str, np.ndarray]:
    columns = {part: table[f"{task}_{part}"].combine_chunks() for part in PARTS}
    if any(column.null_count for column in columns.values()):
        return {}
    return {
        part: column.flatten().to_numpy(zero_copy_only=False).reshape(blocks, size, -1)
        for part, column in columns.items()
    }

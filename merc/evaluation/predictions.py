"""Predictions of every model for every test utterance under every condition; all scores are computed from them."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merc.data.records import labels
from merc.evaluation.missing_modalities import FULL
from merc.runtime.errors import UserError
from merc.training.core import scores

PREDICTIONS_FILE = Path("out/evaluate/predictions.parquet")
ID_COLUMNS = ("corpus", "dialogue", "utterance", "group")
# columns per task: probability before and after calibration, and membership in the conformal set
PARTS = {"raw": pa.float32(), "probability": pa.float32(), "set": pa.bool_()}
PROBABILITY_DECIMALS = 6  # rounding compresses the file and is far too fine to change a score


class BlockKey(NamedTuple):
    """Identifies a block: the predictions of one network under one condition."""

    model: str
    seed: int
    condition: str


@dataclass(frozen=True)
class Predictions:
    """K blocks of predictions for the same N utterances, in the manifest's order."""

    rows: pd.DataFrame  # N rows: identifying columns, then the actual label of each task (a string, or None)
    classes: dict[str, tuple[str, ...]]  # task -> its C labels, in the order of the arrays' last axis
    keys: tuple[BlockKey, ...]
    outputs: dict[str, dict[str, np.ndarray]]  # task -> part -> (K, N, C); without tasks that have no head

    def actual(self, task: str) -> np.ndarray:
        """(N,) label indices, UNLABELLED where there is no label."""
        indices = {label: index for index, label in enumerate(self.classes[task])}
        return np.array([indices.get(label, labels.UNLABELLED) for label in self.rows[task]], dtype=np.int64)

    def groups(self) -> tuple[np.ndarray, int]:
        """(N,) the group index of each row, and the number of groups."""
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
        return replace(self, rows=self.rows[rows].reset_index(drop=True), outputs=outputs)

    def take_seeds(self, seeds: Collection[int]) -> "Predictions":
        """The predictions of some training seeds."""
        selected = np.array([key.seed in seeds for key in self.keys], dtype=bool)
        outputs = {
            task: {part: values[selected] for part, values in parts.items()} for task, parts in self.outputs.items()
        }
        return replace(self, keys=tuple(key for key in self.keys if key.seed in seeds), outputs=outputs)

    def blocks(self, model: str, conditions: Sequence[str]) -> np.ndarray:
        """(S, len(conditions)) indices of the model's blocks, a row per seed that has all the conditions."""
        index = {key: number for number, key in enumerate(self.keys)}
        all_seeds = sorted({key.seed for key in self.keys if key.model == model})
        seeds = [seed for seed in all_seeds if all((model, seed, name) in index for name in conditions)]
        return np.array([[index[BlockKey(model, seed, name)] for name in conditions] for seed in seeds])

    def values(self, task: str, model: str, conditions: Sequence[str], part: str = "probability") -> np.ndarray:
        """(S, len(conditions), N, C) one part of a model's predictions."""
        return self.outputs[task][part][self.blocks(model, conditions)]

    def predicted(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), N) the index of the most probable label."""
        return self.values(task, model, conditions).argmax(-1)

    def group_confusions(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), G, C, C) confusion matrices of each group; all 0 if the task has no head."""
        return self._count_confusions(task, model, conditions, *self.groups())

    def confusions(self, task: str, model: str, conditions: Sequence[str] = (FULL,)) -> np.ndarray:
        """(S, len(conditions), C, C) confusion matrices; all 0 if the task has no head."""
        single_group = np.zeros(len(self.rows), np.int64)
        return self._count_confusions(task, model, conditions, single_group, 1)[:, :, 0]

    def _count_confusions(
        self, task: str, model: str, conditions: Sequence[str], group: np.ndarray, num_groups: int
    ) -> np.ndarray:
        classes = len(self.classes[task])
        if task not in self.outputs:
            return np.zeros((*self.blocks(model, conditions).shape, num_groups, classes, classes), np.int64)
        predicted = self.predicted(task, model, conditions)
        return scores.grouped_confusion(self.actual(task), predicted, group, num_groups, classes)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write one row per block and utterance; the schema's metadata holds the label orders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = [_block(predictions, number, key) for number, key in enumerate(predictions.keys)]
    table = pa.concat_tables(blocks).unify_dictionaries()
    classes = json.dumps({task: list(order) for task, order in predictions.classes.items()}, sort_keys=True)
    table = table.replace_schema_metadata({"merc": classes})
    pq.write_table(table, path, compression="zstd", row_group_size=max(len(table), 1))


def _block(predictions: Predictions, number: int, key: BlockKey) -> pa.Table:
    rows = predictions.rows
    columns = {name: _strings(rows[name]) for name in (*ID_COLUMNS, *labels.TASKS)}
    columns |= {"model": _strings([key.model] * len(rows)), "condition": _strings([key.condition] * len(rows))}
    columns["seed"] = pa.array(np.full(len(rows), key.seed, np.int32))
    for task in labels.TASKS:
        for part, dtype in PARTS.items():
            columns[f"{task}_{part}"] = _lists(predictions, task, part, number, dtype)
    return pa.table(columns)


def _strings(values: Iterable[str | None]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()


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
    return Predictions(
        rows=table.slice(0, size).select([*ID_COLUMNS, *labels.TASKS]).to_pandas().astype(object),
        classes=classes,
        keys=keys,
        outputs={task: parts for task in labels.TASKS if (parts := _parts(table, task, len(keys), size))},
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


def _parts(table: pa.Table, task: str, blocks: int, size: int) -> dict[str, np.ndarray]:
    """{part: (blocks, size, C)} of a task; {} for a task without a head."""
    columns = {part: table[f"{task}_{part}"].combine_chunks() for part in PARTS}
    if any(column.null_count for column in columns.values()):
        return {}
    return {
        part: column.flatten().to_numpy(zero_copy_only=False).reshape(blocks, size, -1)
        for part, column in columns.items()
    }

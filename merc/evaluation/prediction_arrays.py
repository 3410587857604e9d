"""Arrays of predictions, task -> part -> (K blocks, N rows, C), in memory or in files that workers fill."""

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from merc.data.records.labels import Kind, Task

# columns per task: probability before and after calibration, and membership in the conformal set
PARTS = {"raw": pa.float32(), "probability": pa.float32(), "set": pa.bool_()}
# of a multilabel task the set is its answer; of a regression there are the number and its conformal interval
PARTS_OF: dict[Kind, dict[str, pa.DataType]] = {
    "classification": PARTS,
    "multilabel": PARTS,
    "regression": {"value": pa.float32(), "interval": pa.float32()},
}
NUMBERS = {"value": 1, "interval": 2}  # C of a regression's parts
PredictionArrays = dict[str, dict[str, np.ndarray]]
RowsAndArrays = Iterable[tuple[slice, PredictionArrays]]  # consecutive rows, and their arrays (K, n, C)


class PredictionFiles(NamedTuple):
    """Arrays in files: 7 emotions and 3 sentiments of five seeds are 150 kB an utterance, 15 GB for 100,000.

    The system holds the pages that are looked at, and every process shares them.
    """

    folder: Path
    tasks: tuple[Task, ...]

    @classmethod
    def create(cls, folder: Path, tasks: Iterable[Task], num_blocks: int, num_rows: int) -> "PredictionFiles":
        """Files for the arrays of every task, all zero."""
        files = cls(folder, tuple(tasks))
        for number, task in enumerate(files.tasks):
            for part, kind in PARTS_OF[task.kind].items():
                shape = num_blocks, num_rows, NUMBERS.get(part, len(task.classes))
                np.lib.format.open_memmap(files._file(number, part), "w+", kind.to_pandas_dtype(), shape)
        return files

    def write(self, first_block: int, parts: RowsAndArrays) -> set[str]:
        """Fill consecutive blocks; returns the tasks that were filled."""
        arrays, filled = self._open("r+"), set()
        for rows, by_task in parts:
            for task, by_part in by_task.items():
                filled.add(task)
                for part, values in by_part.items():
                    arrays[task][part][first_block : first_block + len(values), rows] = values
        return filled

    def read(self, tasks: Container[str]) -> PredictionArrays:
        """The arrays of some tasks."""
        return {task: by_part for task, by_part in self._open("r").items() if task in tasks}

    def _open(self, mode: Literal["r", "r+"]) -> PredictionArrays:
        return {
            task.name: {
                part: np.asarray(np.load(self._file(number, part), mmap_mode=mode)) for part in PARTS_OF[task.kind]
            }
            for number, task in enumerate(self.tasks)
        }

    def _file(self, number: int, part: str) -> Path:
        return self.folder / f"{number}.{part}.npy"


def join_rows(parts: RowsAndArrays) -> PredictionArrays:
    """The arrays of all rows."""
    arrays = [of_rows for _, of_rows in parts]
    return _concatenate(arrays, arrays[0] if arrays else {}, axis=1)


def join_blocks(blocks: Sequence[PredictionArrays]) -> PredictionArrays:
    """The arrays of all blocks; a task that is missing from one is left out."""
    return _concatenate(blocks, [task for task in blocks[0] if all(task in block for block in blocks)], axis=0)


def _concatenate(
    arrays: Sequence[PredictionArrays], tasks: Iterable[str] | Mapping[str, object], axis: int
) -> PredictionArrays:
    return {
        task: {part: np.concatenate([each[task][part] for each in arrays], axis) for part in arrays[0][task]}
        for task in tasks
    }

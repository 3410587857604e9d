"""Reads predictions files into the blocks that evaluate scores, and refuses what cannot be scored, in one line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from merc.data.records.labels import Kind
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import BlockKey, Predictions
from merc.evaluation.selection_gap import EPOCH_PREFIX
from merc.runtime.errors import UserError
from merc.studies.scoring import prediction_table, protocols
from merc.studies.scoring.prediction_table import SEED, TableFile
from merc.studies.scoring.prediction_values import task_values
from merc.studies.scoring.reference import Reference
from merc.studies.scoring.utterance_ids import UtteranceIds

SHOWN = 3  # ids that a message names
ANSWER_PART: dict[Kind, str] = {"classification": "raw", "multilabel": "raw", "regression": "value"}
FIRST_SEED = 1  # of a file without a column of seeds
Select = Callable[[str], bool]


@dataclass(frozen=True)
class SystemPredictions:
    """What one system says of a split."""

    name: str
    predictions: Predictions  # its raw part holds what the files say, one-hot for labels
    kinds: dict[str, str]  # task -> labels, numbers, probabilities or parts (what evaluate calibrated)
    files: tuple[str, ...]
    missing: int  # utterances left out, with a label and without a prediction in some seed or condition
    calibrated: Predictions | None = None  # on dev, of the condition full

    @property
    def full(self) -> Predictions:
        """Its predictions with all modalities, as well calibrated as they can be."""
        return self.calibrated or self.predictions


class _Block:
    """Predictions of one seed and condition, in the reference's order."""

    def __init__(self, rows: int) -> None:
        self.values: dict[str, dict[str, np.ndarray]] = {}  # task -> part -> (N, C)
        self.place = np.full(rows, -1, np.int32)  # (N,) row of the files, counted over all; -1 where there is none


class _Reader:
    """Collects the blocks of a system from its files."""

    def __init__(self, reference: Reference, files: Sequence[TableFile], select: Select) -> None:
        self.reference, self.files, self.select = reference, files, select
        self.ids, self.size = UtteranceIds(reference), len(reference.manifest)
        self.blocks: dict[tuple[int, str], _Block] = {}
        self.begins: list[int] = []  # number of each file's first row
        self.models: set[str] = set()
        # files that name neither seeds nor conditions are a seed each
        self.by_file = not any({SEED, "condition"} & set(file.ids) for file in files)

    def read(self) -> None:
        begin = 0
        for number, file in enumerate(self.files):
            self.begins.append(begin)
            length, before = 0, len(self.blocks)
            for first, batch in file.batches():
                self._add(file, number, first, batch)
                length = first + len(batch)
            if len(self.blocks) == before and not any((b.place >= begin).any() for b in self.blocks.values()):
                raise UserError(f"{file.path}: has no row to score{self._filters(file)}")
            begin += length

    def _filters(self, file: TableFile) -> str:
        wanted = {"corpus": self.reference.protocol.corpus, "split": self.reference.split, "model": file.model}
        shown = [f"{name} {wanted[name]}" for name in wanted if name in file.ids and wanted[name]]
        return f" for {', '.join(shown)}" if shown else ""

    def _add(self, file: TableFile, number: int, first: int, batch: pa.RecordBatch) -> None:
        index = np.flatnonzero(self._kept(file, batch))
        if not len(index):
            return
        if len(index) < len(batch):
            batch = batch.take(pa.array(index))
        lines = first + index
        conditions, names = self._conditions(file, batch)
        keep = np.array([self.select(name) for name in names], dtype=bool)
        if not keep.all():
            chosen = np.flatnonzero(keep[conditions])
            batch, lines, conditions = batch.take(pa.array(chosen)), lines[chosen], conditions[chosen]
        if not len(lines):
            return
        protocols.check_conditions(str(file.path), (names[code] for code in np.unique(conditions)))
        seeds = self._seeds(file, batch, number, lines)
        rows = self.ids.rows(batch, file.ids)
        if (rows < 0).any():
            self._refuse_unknown(file, batch, rows)
        space, corpus = self.reference.space, self.reference.protocol.corpus
        values = {task: task_values(space.tasks[task], corpus, file, batch, lines) for task in file.columns}
        keys = seeds * len(names) + conditions
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
        for chosen in np.split(order, starts[1:]):
            key = int(seeds[chosen[0]]), names[conditions[chosen[0]]]
            self._fill(key, rows[chosen], lines[chosen] + self.begins[number], values, chosen)

    def _kept(self, file: TableFile, batch: pa.RecordBatch) -> np.ndarray:
        """(n,) bool: rows of the scored corpus, split and model."""
        kept = np.ones(len(batch), dtype=bool)
        wanted = {"corpus": self.reference.protocol.corpus, "split": self.reference.split, "model": file.model}
        for name, value in wanted.items():
            if name not in file.ids:
                continue
            codes, names = prediction_table.strings(batch, name)
            if name == "model" and value is None:
                self.models |= {names[code] for code in np.unique(codes[kept]) if code >= 0}
                if len(self.models) > 1:
                    shown = sorted(self.models)
                    raise UserError(
                        f"{file.path}: holds the models {', '.join(shown)}; name one: {file.path}#{shown[0]}"
                    )
            else:
                kept &= np.append([each == value for each in names], False)[codes]
        return kept

    @staticmethod
    def _conditions(file: TableFile, batch: pa.RecordBatch) -> tuple[np.ndarray, list[str]]:
        if "condition" not in file.ids:
            return np.zeros(len(batch), np.int64), [FULL]
        codes, names = prediction_table.strings(batch, "condition")
        return np.where(codes < 0, len(names), codes).astype(np.int64), [*(name or FULL for name in names), FULL]

    def _seeds(self, file: TableFile, batch: pa.RecordBatch, number: int, lines: np.ndarray) -> np.ndarray:
        if SEED not in file.ids:
            return np.full(len(batch), number + FIRST_SEED if self.by_file else FIRST_SEED, np.int64)
        column = batch.column(SEED)
        if column.null_count:
            empty = lines[int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])]
            raise UserError(f"{file.path} {file.line(empty)}: seed is empty; write a whole number")
        try:
            return column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowException:
            raise UserError(f"{file.path}: column 'seed' holds other things than whole numbers") from None

    def _refuse_unknown(self, file: TableFile, batch: pa.RecordBatch, rows: np.ndarray) -> None:
        unknown = batch.take(pa.array(np.flatnonzero(rows < 0)))
        names = [name for name in ("dialogue", "utterance") if name in file.ids]
        texts = [[values[code] if code >= 0 else "" for code in codes] for codes, values in
                 (prediction_table.strings(unknown, name) for name in names)]  # fmt: skip
        shown = list(dict.fromkeys(" ".join(cells) for cells in zip(*texts, strict=True)))
        near = protocols.suggestion(shown[0], self.ids.names) if names == ["utterance"] else ""
        corpus, split = self.reference.protocol.corpus, self.reference.split
        raise UserError(
            f"{file.path}: {len(shown)} ids are not in {corpus}'s {split} split: {_few(shown)}"
            f"{near or f'; its ids are like {self.ids.names[0]}'}"
        )

    def _fill(
        self,
        key: tuple[int, str],
        rows: np.ndarray,
        places: np.ndarray,
        values: dict[str, dict[str, np.ndarray]],
        chosen: np.ndarray,
    ) -> None:
        block = self.blocks.setdefault(key, _Block(self.size))
        earlier = block.place[rows]
        block.place[rows] = places
        # an utterance that is twice in these rows has the place of the later one
        double = np.flatnonzero((earlier >= 0) | (block.place[rows] != places))
        if len(double):
            row = double[0]
            one = places[row] if earlier[row] < 0 else earlier[row]
            other = block.place[rows[row]] if earlier[row] < 0 else places[row]
            raise UserError(
                f"{self._place(int(one))} and {self._place(int(other))}: both answer "
                f"{self.ids.names[rows[row]]} (seed {key[0]}, condition {key[1]}); keep one"
            )
        for task, by_part in values.items():
            for part, array in by_part.items():
                parts = block.values.setdefault(task, {})
                if part not in parts:
                    parts[part] = np.zeros((self.size, array.shape[1]), array.dtype)
                parts[part][rows] = array[chosen]

    def _place(self, place: int) -> str:
        number = max(n for n, begin in enumerate(self.begins) if begin <= place)
        file = self.files[number]
        return f"{file.path} {file.line(place - self.begins[number])}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def only_full(condition: str) -> bool:
    """Select what a paired test needs."""
    return condition == FULL


def full_and_epochs(condition: str) -> bool:
    """Select what a dev file is read for."""
    return condition == FULL or condition.startswith(EPOCH_PREFIX)


def read_system(
    words: Sequence[str], reference: Reference, *, allow_missing: bool = False, select: Select = lambda _: True
) -> SystemPredictions:
    """Read the files of one system; `select` says which conditions are read."""
    files = [prediction_table.open_table(word, reference.space) for word in words]
    if any(file.kinds != files[0].kinds for file in files):
        raise UserError(f"{files[-1].path}: other tasks or kinds of columns than {files[0].path}; a file a system")
    reader = _Reader(reference, files, select)
    reader.read()
    name = next(iter(reader.models), files[0].name)
    predictions = _collect(reader, name, files[0])
    missing = _missing(reader, predictions)
    if missing.any() and not allow_missing:
        _refuse_missing(reader, files[0], predictions)
    _check_seeds(files[0], predictions)
    if missing.any():
        predictions = predictions.take(~missing)
        if not any(predictions.labelled(task).any() for task in predictions.outputs):
            raise UserError(f"{files[0].path}: no utterance has predictions in every seed and condition")
    kinds = {task: files[0].kinds[task] for task in predictions.outputs}
    return SystemPredictions(name, predictions, kinds, tuple(words), int(missing.sum()))


def _collect(reader: _Reader, name: str, file: TableFile) -> Predictions:
    """The blocks by condition in the protocol's order, then by seed, whatever the order of the rows."""
    blocks = reader.blocks
    conditions = protocols.in_order({condition for _, condition in blocks})
    seeds = sorted({seed for seed, _ in blocks})
    ordered = [(seed, condition) for condition in conditions for seed in seeds if (seed, condition) in blocks]
    outputs: dict[str, dict[str, np.ndarray]] = {}
    for task in file.columns:
        parts = blocks[ordered[0]].values.get(task, {})
        if not parts or any(task not in blocks[key].values for key in ordered):
            continue
        # an array at a time, each dropped from its block, so that few are there twice
        arrays = {part: np.stack([blocks[key].values[task].pop(part) for key in ordered]) for part in list(parts)}
        outputs[task] = {"probability": arrays["raw"]} | arrays if "raw" in arrays else arrays
    keys = tuple(BlockKey(name, seed, condition) for seed, condition in ordered)
    return replace(reader.reference.without_predictions(), keys=keys, outputs=outputs)


def _needed(predictions: Predictions) -> np.ndarray:
    """(N,) bool: utterances with a label in one of the tasks."""
    return np.logical_or.reduce([predictions.labelled(task) for task in predictions.outputs])


def _missing(reader: _Reader, predictions: Predictions) -> np.ndarray:
    """(N,) bool: needed utterances that some block lacks."""
    if not predictions.outputs:
        raise UserError(f"{reader.files[0].path}: has no predictions of a task")
    lacking = np.logical_or.reduce([block.place < 0 for block in reader.blocks.values()])
    return lacking & _needed(predictions)


def _refuse_missing(reader: _Reader, file: TableFile, predictions: Predictions) -> None:
    needed = _needed(predictions)
    for key in predictions.keys:
        missing = np.flatnonzero((reader.blocks[key.seed, key.condition].place < 0) & needed)
        if len(missing):
            names = [reader.ids.names[row] for row in missing[:SHOWN]]
            more = ", ..." if len(missing) > SHOWN else ""
            raise UserError(
                f"{file.path}: {len(missing)} of {int(needed.sum())} utterances are missing (seed {key.seed}, "
                f"condition {key.condition}): {', '.join(names)}{more}; --allow-missing scores the rest"
            )


def _check_seeds(file: TableFile, predictions: Predictions) -> None:
    """Raise unless every seed has the condition full, and the same missing modalities as the others."""
    seeds = sorted({key.seed for key in predictions.keys})
    for condition in dict.fromkeys([FULL, *predictions.conditions(predictions.keys[0].model)]):
        having = {key.seed for key in predictions.keys if key.condition == condition}
        shared = condition == FULL or condition.startswith(("only:", "rate:"))
        if shared and (lacking := [seed for seed in seeds if seed not in having]):
            raise UserError(f"{file.path}: seed {lacking[0]} has no rows of condition {condition}")

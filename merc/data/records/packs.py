"""Feature packs: ragged features of one corpus, split and modality, concatenated in manifest order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from merc.data.records import manifest as manifests
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Pack:
    """Utterance i has the steps offsets[i]:offsets[i+1]; an absent one has none."""

    values: np.ndarray  # (steps, dim) float16, or float32 when imported
    offsets: np.ndarray  # (N + 1,) int64
    present: np.ndarray  # (N,) bool
    blank: np.ndarray  # (blank steps, dim): features of an empty input (empty text, silence, a black frame)
    units: np.ndarray  # (steps, len(unit_names)) float32: the part of the input that each step encodes
    # text: char_start, char_end; audio: start, end; vision: time, left, top, width, height
    unit_names: tuple[str, ...]
    encoder: str
    step_seconds: float | None

    @property
    def dim(self) -> int:
        """Feature dimension."""
        return self.values.shape[1]

    def utterance(self, index: int) -> np.ndarray:
        """(steps, dim) features of one utterance."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]


def pack_path(split: str, corpus: str, modality: str) -> Path:
    """Path of a pack that encode writes."""
    return Path("out/encode") / split / f"{corpus}.{modality}.safetensors"


def build_pack(
    features: list[np.ndarray | None],
    units: list[np.ndarray | None],
    blank: np.ndarray,
    *,
    encoder: str,
    unit_names: tuple[str, ...],
    step_seconds: float | None,
    dtype: type[np.floating] = np.float16,
) -> Pack:
    """Build a pack from one (steps, dim) array per utterance; None where the utterance lacks the modality."""
    lengths = [0 if array is None else len(array) for array in features]
    arrays = [array for array in features if array is not None]
    _check_range([blank, *arrays], dtype, encoder)
    empty, no_units = np.zeros((0, blank.shape[1]), dtype), np.zeros((0, len(unit_names)), np.float32)
    return Pack(
        values=np.concatenate([empty, *(array.astype(dtype) for array in arrays)]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        present=np.array([array is not None for array in features], dtype=bool),
        blank=blank.astype(dtype),
        units=np.concatenate([no_units, *(array.astype(np.float32) for array in units if array is not None)]),
        unit_names=unit_names,
        encoder=encoder,
        step_seconds=step_seconds,
    )


def _check_range(arrays: list[np.ndarray], dtype: type, encoder: str) -> None:
    """Raise if a value is infinite, or would silently become so, as it exceeds the range of dtype; NaN is none."""
    largest = max((float(np.fmax.reduce(np.abs(array), axis=None, initial=0.0)) for array in arrays), default=0.0)
    if np.isinf(largest):
        raise UserError(f"{encoder}: an infinite feature; no network can read it: check the encoder's weights")
    if largest > float(np.finfo(dtype).max):
        raise UserError(f"{encoder}: features up to {largest:g} do not fit into {np.dtype(dtype)}; write float32")


def write_pack(file: Path, pack: Pack, manifest: pd.DataFrame) -> None:
    """Write a pack, bound to its manifest by the digest of the rows."""
    if len(pack.present) != len(manifest):
        raise ValueError(f"{len(pack.present)} utterances, {len(manifest)} rows")
    metadata = {
        "rows": manifests.rows_digest(manifest),
        "encoder": pack.encoder,
        "unit_names": pack.unit_names,
        "step_seconds": pack.step_seconds,
    }
    arrays = {
        name: np.ascontiguousarray(getattr(pack, name))
        for name in ("values", "offsets", "present", "blank", "units")
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    # a single metadata key, as safetensors writes several in random order
    save_file(arrays, file, metadata={"merc": json.dumps(metadata, sort_keys=True)})


def present(file: Path) -> np.ndarray:
    """(N,) bool: rows that a written pack has features of; reads no features."""
    with safe_open(file, framework="numpy") as tensors:
        return tensors.get_tensor("present")


def read_pack(file: Path, manifest: pd.DataFrame) -> Pack:
    """A pack, whose arrays lie in the file; raises if it belongs to another manifest."""
    if not file.is_file():
        raise UserError(f"{file}: not there; run `dvc repro encode`")
    with safe_open(file, framework="pt") as tensors:  # which maps the file; framework="numpy" reads it
        metadata = json.loads(tensors.metadata()["merc"])
        arrays = {name: tensors.get_tensor(name).numpy() for name in tensors.keys()}  # noqa: SIM118 (not a mapping)
    if metadata["rows"] != manifests.rows_digest(manifest):
        raise UserError(f"{file}: was made for other rows than the manifest's; run `dvc repro encode`")
    return Pack(
        **arrays,
        unit_names=tuple(metadata["unit_names"]),
        encoder=metadata["encoder"],
        step_seconds=metadata["step_seconds"],
    )


class PackPart(NamedTuple):
    """A written pack of some rows of a manifest."""

    file: Path
    rows: pd.DataFrame

    def read(self) -> Pack:
        return read_pack(self.file, self.rows)


def join_packs(file: Path, parts: list[PackPart], manifest: pd.DataFrame) -> None:
    """Concatenate parts into one file, byte for byte as `write_pack` writes a single pack.

    One part at a time is in memory; the joined arrays lie in files, from which safetensors writes them.
    """
    first = parts[0].read()
    lengths, present = (np.concatenate(arrays) for arrays in zip(*map(_lengths_and_presence, parts), strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    with TemporaryFile(dir=parts[0].file.parent) as values, TemporaryFile(dir=parts[0].file.parent) as units:
        joined = {
            name: _joined(parts, name, np.memmap(target, array.dtype, "w+", shape=(offsets[-1], array.shape[1])))
            for name, target, array in (("values", values, first.values), ("units", units, first.units))
        }
        write_pack(file, replace(first, offsets=offsets, present=present, **joined), manifest)


def _lengths_and_presence(part: PackPart) -> tuple[np.ndarray, np.ndarray]:
    pack = part.read()
    return np.diff(pack.offsets), pack.present


def _joined(parts: list[PackPart], name: str, target: np.ndarray) -> np.ndarray:
    """The target, filled with one array of all parts."""
    end = 0
    for part in parts:
        array = getattr(part.read(), name)
        begin, end = end, end + len(array)
        target[begin:end] = array
    return target

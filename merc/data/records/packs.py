"""Feature packs: ragged features of one corpus, split and modality, concatenated in manifest order."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import save_file

from merc.data.records import manifest as manifests
from merc.runtime.errors import UserError


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


def split_folder(split: str) -> Path:
    """Output folder of encode for a split."""
    return Path("out/encode") / split


def pack_path(split: str, corpus: str, modality: str) -> Path:
    """Path of a pack."""
    return split_folder(split) / f"{corpus}.{modality}.safetensors"


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
    """Raise if a value exceeds the range of dtype and would silently become infinite."""
    largest = max((float(np.abs(array).max()) for array in arrays if array.size), default=0.0)
    if largest > float(np.finfo(dtype).max):
        raise UserError(f"{encoder}: features up to {largest:g} do not fit into {np.dtype(dtype)}; write float32")


def write_pack(file: Path, pack: Pack, manifest: pd.DataFrame) -> None:
    """Write a pack, bound to its manifest by the digest of the rows."""
    if len(pack.present) != len(manifest):
        raise ValueError(f"{len(pack.present)} utterances, {len(manifest)} rows")
    arrays = {
        name: np.ascontiguousarray(getattr(pack, name))
        for name in ("values", "offsets", "present", "blank", "units")
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    # a single metadata key, as safetensors writes several in random order
    save_file(arrays, file, metadata={"merc": pack_metadata(pack, manifest)})


def pack_metadata(pack: Pack, manifest: pd.DataFrame) -> str:
    """Metadata of a pack's file, as JSON."""
    metadata = {
        "rows": manifests.rows_digest(manifest),
        "encoder": pack.encoder,
        "unit_names": pack.unit_names,
        "step_seconds": pack.step_seconds,
    }
    return json.dumps(metadata, sort_keys=True)


def present(file: Path) -> np.ndarray:
    """(N,) bool: rows that a written pack has features of; reads no features."""
    with safe_open(file, framework="numpy") as tensors:
        return tensors.get_tensor("present")


def read_pack(file: Path, manifest: pd.DataFrame) -> Pack:
    """Read a pack; raises if it belongs to another manifest."""
    if not file.is_file():
        raise UserError(f"{file}: not there; run `dvc repro encode`")
    with safe_open(file, framework="numpy") as tensors:
        metadata = json.loads(tensors.metadata()["merc"])
        arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 (not a mapping)
    if metadata["rows"] != manifests.rows_digest(manifest):
        raise UserError(f"{file}: was made for other rows than the manifest's; run `dvc repro encode`")
    return Pack(
        **arrays,
        unit_names=tuple(metadata["unit_names"]),
        encoder=metadata["encoder"],
        step_seconds=metadata["step_seconds"],
    )


SAFETENSORS_DTYPES = {
    "float16": "F16",
    "float32": "F32",
    "int64": "I64",
    "bool": "BOOL",
}  # numpy's dtype names -> safetensors'


class PackPart(NamedTuple):
    """A written pack of some rows of a manifest."""

    file: Path
    rows: pd.DataFrame

    def read(self) -> Pack:
        return read_pack(self.file, self.rows)


class _Tensor(NamedTuple):
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[np.ndarray]]


def join_packs(file: Path, parts: list[PackPart], manifest: pd.DataFrame) -> None:
    """Concatenate parts into one file, byte for byte as `write` writes a single pack."""
    first, offsets, present = _read_layout(parts)
    tensors = [
        _Tensor("offsets", offsets.dtype, offsets.shape, lambda: iter([offsets])),
        _Tensor("present", present.dtype, present.shape, lambda: iter([present])),
        _Tensor("blank", first.blank.dtype, first.blank.shape, lambda: iter([first.blank])),
        _Tensor("units", first.units.dtype, (offsets[-1], first.units.shape[1]), _chunks(parts, "units")),
        _Tensor("values", first.values.dtype, (offsets[-1], first.dim), _chunks(parts, "values")),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        ordered = sorted(tensors, key=lambda tensor: (-tensor.dtype.itemsize, tensor.name))
        target.write(_header(ordered, pack_metadata(first, manifest)))
        for tensor in ordered:
            for chunk in tensor.chunks():
                target.write(np.ascontiguousarray(chunk).data)


def _read_layout(parts: list[PackPart]) -> tuple[Pack, np.ndarray, np.ndarray]:
    """First part, and the offsets and presence of all parts joined."""
    first, offsets, present = None, [np.zeros(1, np.int64)], []
    for part in parts:
        pack = part.read()
        first = pack if first is None else first
        offsets.append(offsets[-1][-1] + pack.offsets[1:])
        present.append(pack.present)
    return cast("Pack", first), np.concatenate(offsets), np.concatenate(present)


def _chunks(parts: list[PackPart], name: str) -> Callable[[], Iterator[np.ndarray]]:
    """Lazily read one array of each part."""
    return lambda: (getattr(part.read(), name) for part in parts)


def _header(tensors: list[_Tensor], metadata: str) -> bytes:
    """Header of a safetensors file: the length of the JSON, and the JSON padded with spaces to a multiple of 8."""
    content: dict[str, dict[str, str | list[int]]] = {"__metadata__": {"merc": metadata}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + math.prod(map(int, tensor.shape)) * tensor.dtype.itemsize
        shape = [int(size) for size in tensor.shape]
        content[tensor.name] = {
            "dtype": SAFETENSORS_DTYPES[tensor.dtype.name],
            "shape": shape,
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded

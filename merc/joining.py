"""One pack of many: its parts are read one at a time, so that a large corpus is never in memory as a whole."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from merc import packs
from merc.packs import Pack

KINDS = {"float16": "F16", "float32": "F32", "int64": "I64", "bool": "BOOL"}  # numpy's names, safetensors' names


class Part(NamedTuple):
    """A pack of some rows of a manifest."""

    file: Path
    rows: pd.DataFrame

    def read(self) -> Pack:
        return packs.read(self.file, self.rows)


class _Tensor(NamedTuple):
    name: str
    kind: np.dtype
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[np.ndarray]]


def write(file: Path, parts: list[Part], manifest: pd.DataFrame) -> None:
    """The parts one after another, byte for byte as `packs.write` would write them as one pack."""
    first, offsets, present = _survey(parts)
    tensors = [
        _Tensor("offsets", offsets.dtype, offsets.shape, lambda: iter([offsets])),
        _Tensor("present", present.dtype, present.shape, lambda: iter([present])),
        _Tensor("blank", first.blank.dtype, first.blank.shape, lambda: iter([first.blank])),
        _Tensor("units", first.units.dtype, (offsets[-1], first.units.shape[1]), _chunks(parts, "units")),
        _Tensor("values", first.values.dtype, (offsets[-1], first.dim), _chunks(parts, "values")),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        ordered = sorted(tensors, key=lambda one: (-one.kind.itemsize, one.name))
        target.write(_header(ordered, packs.about(first, manifest)))
        for tensor in ordered:
            for chunk in tensor.chunks():
                target.write(np.ascontiguousarray(chunk).data)


def _survey(parts: list[Part]) -> tuple[Pack, np.ndarray, np.ndarray]:
    """The first part, and the offsets and presence of all."""
    first, offsets, present = None, [np.zeros(1, np.int64)], []
    for part in parts:
        pack = part.read()
        first = pack if first is None else first
        offsets.append(offsets[-1][-1] + pack.offsets[1:])
        present.append(pack.present)
    return first, np.concatenate(offsets), np.concatenate(present)


def _chunks(parts: list[Part], name: str) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: (getattr(part.read(), name) for part in parts)


def _header(tensors: list[_Tensor], about: str) -> bytes:
    """safetensors: the length of a JSON, and the JSON, which spaces fill up to a multiple of eight."""
    content, end = {"__metadata__": {"merc": about}}, 0
    for tensor in tensors:
        begin, end = end, end + math.prod(map(int, tensor.shape)) * tensor.kind.itemsize
        shape = [int(size) for size in tensor.shape]
        content[tensor.name] = {"dtype": KINDS[tensor.kind.name], "shape": shape, "data_offsets": [begin, end]}
    coded = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    coded += b" " * (-len(coded) % 8)
    return struct.pack("<Q", len(coded)) + coded

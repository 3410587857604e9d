"""Parsers of array files: npy, npz, torch, HDF5, safetensors, JSON."""

import io
import json
import math
import re
import zipfile
from pickle import UnpicklingError  # the error alone, which torch.load raises
from typing import Any

import numpy as np

from merc.encoders.imported.formats import archives, keys, pickles
from merc.encoders.imported.formats.budget import Budget
from merc.encoders.imported.formats.nested import MAX_DEPTH
from merc.runtime.errors import UserError

NODE_BYTES = 10_000  # that a group or dataset of HDF5 counts; links may lead through the same ones again and again
PIECE_ROWS = 64


def from_json(content: bytes, budget: Budget) -> Any:
    """Parse JSON, including NaN and Infinity; a duplicate key is refused."""
    budget.take_objects(sum(map(content.count, (b"[", b"{", b","))))
    return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise UserError(f"names {keys.first_twice(name for name, _ in pairs)!r} twice; keep one of the two")
    return mapping


def npy(content: bytes, budget: Budget) -> Any:
    """Parse one array; an array of objects (np.save of a dict) is read as a pickle."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if dtype.hasobject:
        return pickles.load(stream.read(), budget)
    if (size := int(np.prod(shape, dtype=object)) * dtype.itemsize) != len(content) - stream.tell():
        raise UserError(f"should hold {size:,} bytes after its header and holds {len(content) - stream.tell():,}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def npz(content: bytes, budget: Budget) -> dict[str, Any]:
    """Parse npz: arrays by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archives.check_size(archive, budget)
        return {
            entry.filename.removesuffix(".npy"): npy(archives.read_entry(archive, entry, budget), budget)
            for entry in archive.infolist()
        }


def torch_file(content: bytes, budget: Budget) -> Any:
    """Parse a file of torch.save: tensors and containers, or numpy arrays and containers."""
    import torch

    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archives.check_size(archive, budget)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = re.search(r"GLOBAL:? (\S+)", str(error))
        if refused and refused[1].startswith("numpy."):
            return pickles.load(_data(content, budget), budget)
        if not refused:
            raise UserError("is no file of torch.save") from None
        message = f"asks for {refused[1]}; tensors and plain containers alone are read, nothing was run"
        raise UserError(message) from None


def _data(content: bytes, budget: Budget) -> bytes:
    """The pickle in a zip file of torch.save."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
        return archives.read_entry(archive, entry, budget)


def safetensors(content: bytes, budget: Budget) -> dict[str, Any]:
    """Parse safetensors: tensors by name, including dtypes that numpy does not support."""
    from safetensors.torch import load

    return dict(load(content))


def hdf5(content: bytes, budget: Budget) -> dict[str, Any]:
    """Parse HDF5 into nested groups and datasets; links are refused."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        return _group(file, h5py, budget, 0)


def _group(group: Any, h5py: Any, budget: Budget, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise UserError(f"nests more than {MAX_DEPTH} groups deep; no features do")
    content = {}
    for name in group:
        budget.take(NODE_BYTES)
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{group.name}/{name} is a link; copy what it points to into the file")
        node = group[name]
        is_group = isinstance(node, h5py.Group)
        content[name] = _group(node, h5py, budget, depth + 1) if is_group else _dataset(node, budget)
    return content


def _dataset(node: Any, budget: Budget) -> Any:
    """Content of a dataset; words of any length, which may be one word again and again, are read in pieces."""
    if node.external or node.is_virtual:
        raise UserError(f"{node.name} lies in another file; copy it into this one")
    if node.shape is None:
        return None
    budget.take(max(node.nbytes, math.prod(node.chunks or ()) * node.dtype.itemsize))
    if node.dtype.hasobject and node.ndim:
        pieces = []
        for start in range(0, len(node), PIECE_ROWS):
            pieces.append(node[start : start + PIECE_ROWS])
            budget.take(sum(map(len, pieces[-1].flat)))
        return np.concatenate(pieces) if pieces else []
    value = node[()]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value

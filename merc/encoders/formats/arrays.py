"""Files of arrays: npy, npz, torch, HDF5, safetensors, JSON."""

import io
import json
import re
import zipfile
from typing import Any

import numpy as np

from merc.encoders.formats import archives, pickles
from merc.encoders.formats.nested import DEEPEST
from merc.problem import Problem


def from_json(content: bytes) -> Any:
    """JSON, NaN and Infinity included; a key that stands twice is refused."""
    return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_doubles)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Problem(f"names {next(one for one in names if names.count(one) > 1)!r} twice; keep one of the two")
    return found


def npy(content: bytes) -> Any:
    """One array; an array of objects (np.save of a dict) is a pickle, and is read as one."""
    opened = io.BytesIO(content)
    version = np.lib.format.read_magic(opened)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = header(opened)
    if kind.hasobject:
        return pickles.load(opened.read())
    if (size := int(np.prod(shape, dtype=object)) * kind.itemsize) != len(content) - opened.tell():
        raise Problem(f"should hold {size:,} bytes after its header and holds {len(content) - opened.tell():,}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def npz(content: bytes) -> dict[str, Any]:
    """Arrays by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archives.check_size(archive, len(content))
        return {name.removesuffix(".npy"): npy(archive.read(name)) for name in archive.namelist()}


def torch_file(content: bytes) -> Any:
    """What torch.save wrote of tensors and containers; of numpy arrays too, unless both are mixed."""
    import torch

    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archives.check_size(archive, len(content))
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickles.Unreadable as error:
        refused = re.search(r"GLOBAL:? (\S+)", str(error))
        if refused and refused[1].startswith("numpy."):
            return pickles.load(_data(content))
        what = f"asks for {refused[1]}; tensors and plain containers alone are read, nothing was run"
        raise Problem(what if refused else "is no file of torch.save") from None


def _data(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def safetensors(content: bytes) -> dict[str, Any]:
    """Tensors by name, those of types that numpy does not know included."""
    from safetensors.torch import load

    return dict(load(content))


def hdf5(content: bytes) -> dict[str, Any]:
    """Groups and datasets as they nest; a link to another file is refused."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as opened:
        return _group(opened, h5py, archives.largest(len(content)), 0)


def _group(group: Any, h5py: Any, limit: int, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise Problem(f"nests more than {DEEPEST} groups deep; no features do")
    found = {}
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise Problem(f"{group.name}/{name} is a link; copy what it points to into the file")
        node = group[name]
        inside = isinstance(node, h5py.Group)
        found[name] = _group(node, h5py, limit, depth + 1) if inside else _dataset(node, limit)
    return found


def _dataset(node: Any, limit: int) -> Any:
    if node.external or node.is_virtual:
        raise Problem(f"{node.name} lies in another file; copy it into this one")
    if node.shape is None:
        return None
    if node.nbytes > limit:
        raise Problem(f"{node.name} unpacks to {node.nbytes:,} bytes, more than {limit:,}: taken for a trap")
    value = node[()]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value

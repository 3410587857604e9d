"""Networks of face-api.js: from TensorFlow.js's files (a manifest and shards) to safetensors in PyTorch's layout.

The manifest lists name, shape, type and quantisation of each tensor; the shards, put together, hold their values in
this order: value = code * scale + min. `dense1/conv2/pointwise_filter` becomes `dense1.conv2.pointwise.weight`.
"""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

NAMES = {  # last part of a name -> what it is in PyTorch
    "filters": "weight",
    "weights": "weight",
    "depthwise_filter": "depthwise.weight",
    "pointwise_filter": "pointwise.weight",
    "depthwise_weights": "weight",
    "convolution_bn_offset": "bias",
    "biases": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def convert(origin: Path, folder: Path) -> None:
    """Write the one network in `origin` as model.safetensors, float32, to `folder`."""
    from safetensors.numpy import save_file

    (manifest,) = origin.glob("*-weights_manifest.json")
    (group,) = json.loads(manifest.read_text(encoding="utf-8"))
    values = dict(_values(group["weights"], b"".join((origin / shard).read_bytes() for shard in group["paths"])))
    separable = {name.rpartition("/")[0] for name in values if name.endswith("/pointwise_filter")}
    tensors = {}
    for name, value in values.items():
        if value.ndim:  # a number is an operand of the graph, no weight
            layer, _, last = name.rpartition("/")
            inner = "pointwise.bias" if last == "bias" and layer in separable else NAMES.get(last, last)
            tensors[f"{layer}/{inner}".replace("/", ".")] = _in_torch_layout(last, value)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _values(listed: list[dict], content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Names and float32 values; integers are operands of the graph and left out."""
    place = 0
    for entry in listed:
        quantised = entry.get("quantization")
        kind = np.dtype(quantised["dtype"] if quantised else entry["dtype"])
        count = prod(entry["shape"])
        codes = np.frombuffer(content, kind.newbyteorder("<"), count, place).reshape(entry["shape"])
        place += count * kind.itemsize
        if entry["dtype"] == "float32":
            value = codes.astype(np.float32)
            yield (
                entry["name"],
                value * np.float32(quantised["scale"]) + np.float32(quantised["min"]) if quantised else value,
            )


def _in_torch_layout(last: str, value: np.ndarray) -> np.ndarray:
    """(height, width, in, out) -> (out, in, height, width), depthwise in first; (in, out) -> (out, in)."""
    if value.ndim == 4:
        value = value.transpose((2, 3, 0, 1) if last.startswith("depthwise") else (3, 2, 0, 1))
    return np.ascontiguousarray(value.T if value.ndim == 2 else value)

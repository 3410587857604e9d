"""ONNX files: written without a trace of this machine, and reduced to 8 bits."""

import io
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import onnx  # half a second, which those who only read the files' names need not pay

OPSET = 18
FULL, REDUCED = "model.onnx", "model.int8.onnx"


def write(
    path: Path,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """What the module computes of these tensors, given in this order; `axes` names the dimensions that vary.

    By tracing: PyTorch's newer exporter takes 20 s where this one takes one, with the same answers.
    """
    import onnx

    traced = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of being the older one, of shapes that Python saw: the answers are compared
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            traced,
            dynamo=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(own) for name, own in axes.items()},
            opset_version=OPSET,
        )
    graph = onnx.load_from_string(traced.getvalue())
    anonymous(graph)
    onnx.checker.check_model(graph)
    _save(graph, path)


def anonymous(graph: "onnx.ModelProto") -> None:
    """Leave nothing in it that tells where and from which lines it was made, nor what a runtime infers itself."""
    graph.doc_string = ""
    del graph.metadata_props[:], graph.graph.value_info[:]
    for part in (graph.graph, *graph.functions, *graph.graph.node, *graph.graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]


def reduce(source: Path, target: Path) -> None:
    """The same with weights of 8 bits; what flows between them is scaled as it comes (dynamic quantisation).

    Weights use 7 of the 8 bits: processors without VNNI add products of 8 bits in 16, which may overflow.
    """
    import onnx
    from onnxruntime import quantization

    logging.disable(logging.WARNING)  # it recommends a step for convolutions, which stay as they are
    try:
        with tempfile.TemporaryDirectory() as place:
            aside = Path(place) / "reduced.onnx"
            quantization.quantize_dynamic(
                source,
                aside,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                nodes_to_exclude=_by_vectors(onnx.load(source).graph),
                per_channel=True,
                reduce_range=True,
                weight_type=quantization.QuantType.QInt8,
            )
            graph = onnx.load(aside)
    finally:
        logging.disable(logging.NOTSET)
    anonymous(graph)
    _save(graph, target)


def both(folder: Path, *what: Any) -> None:
    """Write a module to a folder, at full and at reduced precision; arguments as of `write`."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / FULL, *what)
    reduce(folder / FULL, folder / REDUCED)


def _by_vectors(graph: "onnx.GraphProto") -> list[str]:
    """Products with a vector of weights: onnxruntime knows a scale for each column of a matrix alone."""
    vectors = {one.name for one in graph.initializer if len(one.dims) < 2}
    return [node.name for node in graph.node if node.op_type == "MatMul" and vectors & set(node.input)]


def _save(graph: "onnx.ModelProto", path: Path) -> None:
    path.write_bytes(graph.SerializeToString(deterministic=True))

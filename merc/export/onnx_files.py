"""ONNX files: export of a module, removal of machine-dependent metadata, 8-bit quantization, inference sessions."""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from merc.export.bundle import REMEDY
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import onnx  # takes half a second, needed only to write files

OPSET = 18
FULL, REDUCED = "model.onnx", "model.int8.onnx"


def export_module(
    path: Path,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Export a module called with these tensors in this order; `axes` names the dynamic dimensions.

    Uses the exporter by tracing: PyTorch's newer one takes 20 s where this one takes 1 s, with the same results.
    """
    import onnx

    traced = io.BytesIO()
    with warnings.catch_warnings():
        # warnings of deprecation and of traced shapes, needless since the outputs are compared with torch's
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            traced,  # pyright: ignore[reportArgumentType]  # with dynamo=False torch takes a buffer too
            dynamo=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(dimensions) for name, dimensions in axes.items()},
            opset_version=OPSET,
        )
    graph = onnx.load_from_string(traced.getvalue())
    delete_metadata(graph)
    onnx.checker.check_model(graph)
    _save(graph, path)


def delete_metadata(graph: "onnx.ModelProto") -> None:
    """Delete metadata with paths and source lines, and value types that a runtime infers itself."""
    graph.doc_string = ""
    del graph.metadata_props[:], graph.graph.value_info[:]
    for part in (graph.graph, *graph.functions, *graph.graph.node, *graph.graph.initializer):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]


def quantize(source: Path, target: Path) -> None:
    """Quantize weights to 8 bits, and activations dynamically at run time.

    Weights use 7 of the 8 bits: processors without VNNI sum products of 8 bits in 16 bits, which may overflow.
    """
    import onnx
    from onnxruntime import quantization

    logging.disable(logging.WARNING)  # it recommends preprocessing for convolutions, which stay unquantized
    try:
        with tempfile.TemporaryDirectory() as folder:
            quantized = Path(folder) / "reduced.onnx"
            quantization.quantize_dynamic(
                source,
                quantized,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                nodes_to_exclude=_vector_products(onnx.load(source).graph),
                per_channel=True,
                reduce_range=True,
                weight_type=quantization.QuantType.QInt8,
            )
            graph = onnx.load(quantized)
    finally:
        logging.disable(logging.NOTSET)
    delete_metadata(graph)
    _save(graph, target)


def export_both_precisions(folder: Path, *arguments: Any) -> None:
    """Export a module into a folder at full precision and in 8 bits; arguments as of its export to one file."""
    folder.mkdir(parents=True, exist_ok=True)
    export_module(folder / FULL, *arguments)
    quantize(folder / FULL, folder / REDUCED)


def _vector_products(graph: "onnx.GraphProto") -> list[str]:
    """Products with a vector of weights: onnxruntime has per-column scales for matrices only."""
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) < 2}
    return [node.name for node in graph.node if node.op_type == "MatMul" and vectors & set(node.input)]


def _save(graph: "onnx.ModelProto", path: Path) -> None:
    path.write_bytes(graph.SerializeToString(deterministic=True))


class OnnxSession:
    """Inference session of an ONNX file with arrays by name as inputs and outputs."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if not path.is_file():
            raise UserError(
                f"{path}: not there: this model was exported without ONNX; export it again, or use torch"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only, no remarks on graph optimisation
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors for damaged files have no common base class
            raise UserError(f"{path}: onnxruntime cannot read it ({' '.join(str(error).split())[:120]})") from None
        self.path = path
        # sparse tensors, sequences and maps, which onnxruntime can return as well, are no outputs of these files
        self.run = cast("Callable[[None, dict[str, np.ndarray]], list[np.ndarray]]", session.run)
        self.inputs = [node.name for node in session.get_inputs()]
        self.outputs = [node.name for node in session.get_outputs()]
        self.shapes = {node.name: node.shape for node in session.get_outputs()}

    def width(self, output: str) -> int:
        """Size of the last dimension of an output; raises a UserError if it has none."""
        if not isinstance(width := (self.shapes.get(output) or [None])[-1], int):
            raise UserError(f"{self.path}: has no output {output!r} of a known width; {REMEDY}")
        return width

    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run the network; arrays that are no inputs of the file are ignored."""
        if unknown := [name for name in self.inputs if name not in arrays]:
            raise UserError(f"{self.path}: asks for an input {unknown[0][:60]!r} that there is not; {REMEDY}")
        inputs = {name: np.ascontiguousarray(arrays[name]) for name in self.inputs}
        try:
            return dict(zip(self.outputs, self.run(None, inputs), strict=True))
        except Exception as error:  # as above; of a file of other types or shapes than its description's
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self.path}: onnxruntime cannot compute it ({reason}); {REMEDY}") from None

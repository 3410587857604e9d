"""Of a weight that two `Gemm`s share, onnxruntime's quantisation transposes the copy twice: logits off by 0.09."""

import numpy as np
import onnx
import torch
from exported import LABELS as TASKS
from networks import STREAMS, batch, config
from test_onnx import without

from merc.export import onnx_files, onnx_network
from merc.export.onnx_files import OnnxSession
from models.network import Network


def test_weights_of_eight_bits_take_less_room_and_answer_nearly_alike(tmp_path):
    torch.manual_seed(2)
    own = Network(config(dim=64, fused=64, context="none"), STREAMS, TASKS).eval()  # a GRU keeps its floats
    onnx_network.export_network(tmp_path, own)
    full, reduced = (OnnxSession(tmp_path / name) for name in (onnx_files.FULL, onnx_files.REDUCED))
    kinds = {one.data_type for one in onnx.load(tmp_path / onnx_files.REDUCED).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    sizes = [(tmp_path / name).stat().st_size for name in (onnx_files.REDUCED, onnx_files.FULL)]
    assert sizes[0] < 0.8 * sizes[1]
    arrays = onnx_network.named_arrays(without(batch((20, 20)), set()), own.streams)
    one, other = full(arrays)["emotion"], reduced(arrays)["emotion"]
    assert 0 < np.abs(one - other).max() < 0.2 * np.abs(one).max()

"""Engines that compute the networks: torch, or onnxruntime at full precision or in 8 bits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from merc.encoders.base.encoder import Encoder
from merc.export import onnx_encoders, onnx_files, onnx_network
from merc.export.onnx_files import OnnxSession
from merc.runtime import results
from merc.serve.predictor.inference import Forward, Outputs
from models import checkpoint


def _torch(folder: Path) -> Forward:
    """Forward function of the checkpoint."""
    network = checkpoint.load(folder)

    @torch.inference_mode()
    def forward(batch: dict[str, Any]) -> Outputs:
        outputs = network(batch)
        logits = {task: outputs[task] for task in network.labels if task in outputs}
        gate = {"gate": outputs["weights"]["gate"]} if "gate" in outputs["weights"] else {}
        return {name: tensor.float().numpy() for name, tensor in (logits | gate).items()}

    return forward


def _onnx(path: Path) -> Forward:
    """Forward function of an ONNX file, with the inputs of merc/export/onnx_network.py."""
    session, streams = OnnxSession(path), results.read_json(path.parent / checkpoint.CONFIG_FILE)["streams"]
    return lambda batch: session(onnx_network.named_arrays(batch, streams))


@dataclass(frozen=True)
class Engine:
    """Loads the network and the encoders for one runtime; `file` is the ONNX file's name, None for torch."""

    file: str | None

    def load_forward(self, folder: Path) -> Forward:
        """Forward function of the network in an exported folder."""
        return _torch(folder) if self.file is None else _onnx(folder / self.file)

    def encoder(self, folder: Path, modality: str, encoder: Encoder) -> Encoder:
        """The encoder, its network replaced by the exported ONNX file if the engine uses one."""
        encoder_folder = folder / "encoders" / modality
        return encoder if self.file is None else onnx_encoders.use_onnx_network(encoder, encoder_folder / self.file)


ENGINES: dict[str, Engine] = {
    "torch": Engine(None),
    "onnx": Engine(onnx_files.FULL),
    "int8": Engine(onnx_files.REDUCED),
}

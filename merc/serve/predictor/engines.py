"""Engines that compute network and text encoder: torch, or onnxruntime at full precision or in 8 bits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from merc.encoders.base.encoder import Encoder
from merc.export import needed_encoders, onnx_encoders, onnx_files, onnx_network
from merc.export.bundle import REMEDY
from merc.export.onnx_files import OnnxSession
from merc.runtime.errors import UserError
from merc.serve.predictor.folder_contents import NetworkDescription
from merc.serve.predictor.inference import Forward, Outputs
from models import checkpoint


def _torch(folder: Path) -> Forward:
    """Forward function of the checkpoint."""
    network = checkpoint.load(folder)
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"{folder / checkpoint.WEIGHTS_FILE}: {name} is not finite; {REMEDY}")

    @torch.inference_mode()
    def forward(batch: dict[str, Any]) -> Outputs:
        outputs = network(batch)
        logits = {task: outputs[task] for task in network.labels if task in outputs}
        gate = {"gate": outputs["weights"]["gate"]} if "gate" in outputs["weights"] else {}
        return {name: tensor.float().numpy() for name, tensor in (logits | gate).items()}

    return forward


def _onnx(path: Path, network: NetworkDescription) -> Forward:
    """Forward function of an ONNX file, with the inputs of merc/export/onnx_network.py."""
    session = OnnxSession(path)
    gates = network.gates, len(network.model.modalities)
    onnx_network.check_outputs(session, network.streams, network.labels, gates)
    return lambda batch: session(onnx_network.named_arrays(batch, network.streams))


@dataclass(frozen=True)
class Engine:
    """Loads the network and the encoders for one runtime: names of their ONNX files, None for torch."""

    network: str | None
    encoders: str | None

    def load_forward(self, folder: Path, network: NetworkDescription) -> Forward:
        """Forward function of the network in an exported folder."""
        return _torch(folder) if self.network is None else _onnx(folder / self.network, network)

    def load_encoder(self, folder: Path, modality: str, description: dict[str, Any]) -> Encoder | None:
        """The encoder that the network was trained with, from an ONNX file if the engine uses one that exists."""
        if self.encoders is not None and (path := folder / "encoders" / modality / self.encoders).is_file():
            return onnx_encoders.load_text_encoder(path, description)
        return needed_encoders.restore_encoder(modality, description, folder)


# auto loads fastest: a text encoder as ONNX takes 3 s less, the network by torch 0.1 s (of the processor)
ENGINES: dict[str, Engine] = {
    "auto": Engine(None, onnx_files.FULL),
    "torch": Engine(None, None),
    "onnx": Engine(onnx_files.FULL, onnx_files.FULL),
    "int8": Engine(onnx_files.REDUCED, onnx_files.REDUCED),
}

"""What computes the networks: torch, or onnxruntime at full or at reduced precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from merc import onnxfiles, portable, results
from merc.encoders import portable as portable_encoders
from merc.encoders.encoder import Encoder
from merc.serve.answering import Answers, Ask
from merc.sessions import Session
from models import checkpoint


def _torch(folder: Path) -> Ask:
    """The checkpoint itself."""
    network = checkpoint.load(folder)

    @torch.inference_mode()
    def ask(batch: dict[str, Any]) -> Answers:
        told = network(batch)
        answers = {task: told[task] for task in network.labels if task in told}
        gate = {"gate": told["weights"]["gate"]} if "gate" in told["weights"] else {}
        return {name: tensor.float().numpy() for name, tensor in (answers | gate).items()}

    return ask


def _onnx(path: Path) -> Ask:
    """The exported file; it is asked as merc/portable.py wrote it."""
    session, streams = Session(path), results.read_json(path.parent / checkpoint.CONFIG)["streams"]
    return lambda batch: session(portable.arrays(batch, streams))


@dataclass(frozen=True)
class Engine:
    """How the network is asked, and what is exchanged in an encoder; `file` None: nothing."""

    file: str | None

    def ask(self, folder: Path) -> Ask:
        return _torch(folder) if self.file is None else _onnx(folder / self.file)

    def encoder(self, folder: Path, modality: str, encoder: Encoder) -> Encoder:
        """The encoder as it is, or with its network from the exported folder."""
        place = folder / "encoders" / modality
        return encoder if self.file is None else portable_encoders.exchange(encoder, place / self.file)


ENGINES: dict[str, Engine] = {
    "torch": Engine(None),
    "onnx": Engine(onnxfiles.FULL),
    "int8": Engine(onnxfiles.REDUCED),
}

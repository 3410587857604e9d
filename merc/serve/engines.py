"""What computes the network: torch, or onnxruntime in full or in reduced precision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from merc.serve.answering import Answers, Ask
from models import checkpoint


def torch_engine(folder: Path) -> Ask:
    """The checkpoint itself."""
    network = checkpoint.load(folder)

    @torch.inference_mode()
    def ask(batch: dict[str, Any]) -> Answers:
        told = network(batch)
        answers = {task: told[task] for task in network.labels if task in told}
        gate = {"gate": told["weights"]["gate"]} if "gate" in told["weights"] else {}
        return {name: tensor.float().numpy() for name, tensor in (answers | gate).items()}

    return ask


ENGINES: dict[str, Callable[[Path], Ask]] = {
    "torch": torch_engine,
}

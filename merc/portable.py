"""The network as ONNX: a batch as named tensors, of any number of dialogues, utterances and steps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merc import onnxfiles

PARTS = ("values", "rows", "steps")  # of a stream (merc/batches.py)
ROWS = ("present", "place", "speaker")  # a row an utterance
GRID = "grid"  # its shape alone is read: dialogues, and turns of the longest
GATE = "gate"


class Portable(nn.Module):
    """A network whose arguments are tensors, in the order of `tensors`."""

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.names, given, strict=True))
        batch: dict[str, Any] = {name: named[name] for name in ROWS} | {"size": named[GRID].shape}
        for part in PARTS:
            batch[part] = {stream: named[f"{part}/{stream}"] for stream in self.network.streams}
        told = self.network(batch)
        return (*(told[task] for task in self.network.labels), *_gates(told["weights"]))


def tensors(batch: Mapping[str, Any], streams: Mapping[str, int]) -> dict[str, Tensor]:
    """What the file takes of a batch; a stream that nobody has is there with no rows."""
    named = {}
    for stream, width in streams.items():
        size = _longest(batch["values"], stream.split("/")[0])
        given = [batch[part].get(stream) for part in PARTS]
        values, rows, steps = _nobody(size, width) if given[0] is None else given
        padded = nn.functional.pad(values, (0, 0, 0, size - values.shape[1]))
        named |= {f"{part}/{stream}": one for part, one in zip(PARTS, (padded, rows, steps), strict=True)}
    named |= {name: batch[name] for name in ROWS}
    return named | {GRID: torch.zeros((batch["place"].amax(0) + 1).tolist(), dtype=torch.bool)}


def arrays(batch: Mapping[str, Any], streams: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The same for onnxruntime."""
    return {name: tensor.numpy() for name, tensor in tensors(batch, streams).items()}


def write(folder: Path, network: nn.Module) -> None:
    """The network in ONNX, at full and at reduced precision."""
    example = tensors(_example(network), network.streams)
    outputs = [*network.labels, *_gates(network(_example(network))["weights"], names=True)]
    onnxfiles.both(folder, Portable(network, example), example, outputs, _axes(network.streams, outputs))


def _gates(weights: Mapping[str, Tensor], names: bool = False) -> list[Any]:
    return [GATE if names else weights[GATE]] if GATE in weights else []


def _axes(streams: Iterable[str], outputs: Iterable[str]) -> dict[str, dict[int, str]]:
    """What varies; streams of one modality are padded to one length."""
    axes: dict[str, dict[int, str]] = {name: {0: "utterances"} for name in (*ROWS, *outputs)}
    for stream in streams:
        count, size = f"rows of {stream}", f"steps of {stream.split('/')[0]}"
        axes |= {f"values/{stream}": {0: count, 1: size}}
        axes |= {f"{part}/{stream}": {0: count} for part in ("rows", "steps")}
    return axes | {GRID: {0: "dialogues", 1: "turns"}}


def _example(network: nn.Module) -> dict[str, Any]:
    """Three dialogues of different lengths in which everything is present: any values do."""
    place = torch.tensor([(dialogue, turn) for dialogue, turns in enumerate((4, 2, 3)) for turn in range(turns)])
    count, every = len(place), torch.arange(len(place))
    return {
        "values": {stream: torch.ones(count, 10, width) for stream, width in network.streams.items()},
        "rows": dict.fromkeys(network.streams, every),
        "steps": dict.fromkeys(network.streams, 2 + every),
        "present": torch.ones(count, len(network.modalities), dtype=torch.bool),
        "place": place,
        "speaker": every % 2,
    }


def _longest(values: Mapping[str, Tensor], modality: str) -> int:
    own = (one.shape[1] for stream, one in values.items() if stream.split("/")[0] == modality)
    return max(own, default=1)


def _nobody(size: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    none = torch.zeros(0, dtype=torch.long)
    return torch.zeros(0, size, width), none, none

"""The network as ONNX: named tensors of a batch with dynamic numbers of dialogues, utterances and steps."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merc.data.records.stream_name import StreamName
from merc.export import onnx_files
from merc.export.bundle import REMEDY
from merc.export.onnx_files import OnnxSession
from merc.runtime.errors import UserError
from merc.training.core.network import MultimodalNetwork

PARTS = ("values", "rows", "steps")  # tensors of a stream (merc/data/batches/dataset.py)
ROWS = ("present", "place", "speaker")  # tensors with a row per utterance
GRID = "grid"  # a tensor of which only the shape is used: number of dialogues, turns of the longest one
GATE = "gate"


class TensorNetwork(nn.Module):
    """Wraps a network so that its arguments are tensors, in the order of `names`."""

    def __init__(self, network: MultimodalNetwork, names: Iterable[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.names, arguments, strict=True))
        batch: dict[str, Any] = {name: named[name] for name in ROWS} | {"size": named[GRID].shape}
        for part in PARTS:
            batch[part] = {stream: named[f"{part}/{stream}"] for stream in self.network.streams}
        outputs = self.network(batch)
        return (*(outputs[task] for task in self.network.labels), *_gates(outputs["weights"]))


def named_tensors(batch: Mapping[str, Any], streams: Mapping[str, int]) -> dict[str, Tensor]:
    """The ONNX file's inputs from a batch; a stream without features gets tensors with zero rows."""
    named = {}
    for stream, width in streams.items():
        num_steps = _max_steps(batch["values"], StreamName.parse(stream).modality)
        parts = [batch[part].get(stream) for part in PARTS]
        values, rows, steps = _empty_stream(num_steps, width) if parts[0] is None else parts
        if (offsets := batch.get("speaker_offsets", {}).get(stream)) is not None:
            values = values - offsets[rows].unsqueeze(1)  # which the exported network leaves to its caller
        padded = nn.functional.pad(values, (0, 0, 0, num_steps - values.shape[1]))
        named |= {f"{part}/{stream}": tensor for part, tensor in zip(PARTS, (padded, rows, steps), strict=True)}
    named |= {name: batch[name] for name in ROWS}
    return named | {GRID: torch.zeros((batch["place"].amax(0) + 1).tolist(), dtype=torch.bool)}


def named_arrays(batch: Mapping[str, Any], streams: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The ONNX file's inputs as NumPy arrays for onnxruntime."""
    return {name: tensor.numpy() for name, tensor in named_tensors(batch, streams).items()}


def check_outputs(
    session: OnnxSession, streams: Mapping[str, int], labels: Mapping[str, Sequence[str]], gates: tuple[int, int]
) -> None:
    """Refuse a file that does not give what config.json describes for an example of its inputs.

    `gates`: the numbers of gates and of modalities.
    """
    batch = _example(streams, gates[1])
    outputs, rows = session(named_arrays(batch, streams)), len(batch["place"])
    expected: dict[str, tuple[int, ...]] = {task: (rows, len(names)) for task, names in labels.items()}
    expected[GATE] = (rows, *gates)
    for name in (*labels, *outputs):
        shape = outputs[name].shape if name in outputs else None
        if shape != expected.get(name):
            raise UserError(
                f"{session.path}: the output {name[:60]!r} has the shape {shape}, and config.json describes "
                f"{expected.get(name)}; {REMEDY}"
            )


def export_network(folder: Path, network: MultimodalNetwork) -> None:
    """Export the network at full precision and in 8 bits."""
    batch = _example(network.streams, len(network.modalities))
    example = named_tensors(batch, network.streams)
    outputs = [*network.labels, *_gates(network(batch)["weights"], names=True)]
    onnx_files.export_both_precisions(
        folder, TensorNetwork(network, example), example, outputs, _axes(network.streams, outputs)
    )


def _gates(weights: Mapping[str, Tensor], names: bool = False) -> list[Any]:
    return [GATE if names else weights[GATE]] if GATE in weights else []


def _axes(streams: Iterable[str], outputs: Iterable[str]) -> dict[str, dict[int, str]]:
    """Names of the dynamic dimensions; streams of one modality are padded to the same number of steps."""
    axes: dict[str, dict[int, str]] = {name: {0: "utterances"} for name in (*ROWS, *outputs)}
    for stream in streams:
        rows, steps = f"rows of {stream}", f"steps of {stream.split('/')[0]}"
        axes |= {f"values/{stream}": {0: rows, 1: steps}}
        axes |= {f"{part}/{stream}": {0: rows} for part in ("rows", "steps")}
    return axes | {GRID: {0: "dialogues", 1: "turns"}}


def _example(streams: Mapping[str, int], num_modalities: int) -> dict[str, Any]:
    """A batch to trace and to check with: three dialogues of different lengths, all present, arbitrary values."""
    place = torch.tensor([(dialogue, turn) for dialogue, turns in enumerate((4, 2, 3)) for turn in range(turns)])
    count, indices = len(place), torch.arange(len(place))
    return {
        "values": {stream: torch.ones(count, 10, width) for stream, width in streams.items()},
        "rows": dict.fromkeys(streams, indices),
        "steps": dict.fromkeys(streams, 2 + indices),
        "present": torch.ones(count, num_modalities, dtype=torch.bool),
        "place": place,
        "speaker": indices % 2,
    }


def _max_steps(values: Mapping[str, Tensor], modality: str) -> int:
    """Length to which the modality's streams are padded."""
    lengths = (
        tensor.shape[1] for stream, tensor in values.items() if StreamName.parse(stream).modality == modality
    )
    return max(lengths, default=1)


def _empty_stream(num_steps: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    empty = torch.zeros(0, dtype=torch.long)
    return torch.zeros(0, num_steps, width), empty, empty

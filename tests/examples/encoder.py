"""Example encoder: the loudness of a sound, without weights."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput
from merc.encoders.base.encoder import Encoder


class Loudness(Encoder):
    """Root mean square and peak of the whole sound: one step per utterance."""

    unit_names = ("start", "end")  # columns of `units`: seconds
    step_seconds = None  # steps are no equal spans of time
    differentiable = None  # no input tensor that gradients of the features reach
    budget = 30 * SAMPLE_RATE  # samples per batch
    silent_input = AudioInput(np.zeros(SAMPLE_RATE, np.float32))
    dim = 2

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def prepare(self, raw: Sequence[AudioInput]) -> dict[str, Tensor]:
        """loudness (N, 1, dim)."""
        measures = [[np.sqrt(np.square(sound.samples).mean()), np.abs(sound.samples).max()] for sound in raw]
        return {"loudness": torch.from_numpy(np.array(measures, np.float32)).unsqueeze(1)}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        values = tensors["loudness"]
        return values, torch.ones(len(values), dtype=torch.int64, device=values.device)

    def units(self, raw: Sequence[AudioInput]) -> list[np.ndarray]:
        return [np.array([[0, len(sound.samples) / sound.rate]], np.float32) for sound in raw]

    def size(self, raw: AudioInput) -> int:
        return len(raw.samples)

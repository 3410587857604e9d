"""Base class of audio encoders: samples are split into frames, groups of which are averaged to steps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput
from merc.encoders.base.encoder import Encoder


class FramedAudioEncoder(Encoder):
    """Encoder of samples; frames are `hop` samples apart, a step is `frames_per_step` frames."""

    unit_names = ("start", "end")
    differentiable = "samples"
    budget = 30 * SAMPLE_RATE
    silent_input = AudioInput(np.zeros(SAMPLE_RATE, np.float32))
    min_samples = 1  # shorter sounds are padded with silence

    def __init__(self, name: str, hop: int, frames_per_step: int) -> None:
        super().__init__()
        self.name, self.hop, self.frames_per_step = name, hop, frames_per_step
        self.step_seconds = frames_per_step * hop / SAMPLE_RATE

    def prepare(self, raw: Sequence[AudioInput]) -> dict[str, Tensor]:
        """Zero-padded samples (N, L), and lengths (N,)."""
        sounds = [torch.from_numpy(np.asarray(sound.samples, np.float32)) for sound in raw]
        lengths = [max(self.min_samples, len(sound)) for sound in sounds]
        samples = torch.zeros(len(raw), max(lengths))
        for row, sound in zip(samples, sounds, strict=True):
            row[: len(sound)] = sound
        return {"samples": samples, "lengths": torch.tensor(lengths)}

    def units(self, raw: Sequence[AudioInput]) -> list[np.ndarray]:
        lengths = torch.tensor([self.size(sound) for sound in raw])
        ends = [np.arange(1, count + 1) * self.step_seconds for count in self.steps(lengths).tolist()]
        return [np.stack([end - self.step_seconds, end], axis=1).astype(np.float32) for end in ends]

    def size(self, raw: AudioInput) -> int:
        return max(self.min_samples, len(raw.samples))

    def frames(self, lengths: Tensor) -> Tensor:
        """Number of frames (N,) of sounds of these lengths in samples."""
        return (lengths - 1).div(self.hop, rounding_mode="floor") + 1

    def steps(self, lengths: Tensor) -> Tensor:
        """Number of steps (N,) of sounds of these lengths in samples."""
        return (self.frames(lengths) - 1).div(self.frames_per_step, rounding_mode="floor") + 1

    def pool(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, D) -> (N, S, D): the mean over the valid frames of each step."""
        num_frames = self.frames_per_step * int(self.steps(lengths).max())
        values = torch.nn.functional.pad(values, (0, 0, 0, num_frames - values.shape[1]))
        mask = self.frame_mask(lengths, num_frames)
        sums = (values * mask).unflatten(1, (-1, self.frames_per_step)).sum(dim=2)
        return sums / mask.unflatten(1, (-1, self.frames_per_step)).sum(dim=2).clamp(min=1)

    def frame_mask(self, lengths: Tensor, num_frames: int) -> Tensor:
        """(N, num_frames, 1): 1.0 for valid frames, 0.0 for padding."""
        frames = torch.arange(num_frames, device=lengths.device)
        return (frames < self.frames(lengths)[:, None]).float().unsqueeze(2)


def frames_per_step_for(frame_rate: float, frames_per_second: float) -> int:
    """Number of frames per step that brings `frames_per_second` down to `frame_rate` steps per second."""
    return max(1, round(frames_per_second / frame_rate))

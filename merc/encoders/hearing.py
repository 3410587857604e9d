"""What encoders of sound have in common: samples in, frames in time, some of which are averaged to a step."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from merc.encoders.encoder import Encoder
from merc.encoders.raw import RATE, Sound


class Hearing(Encoder):
    """Hears samples; a frame is `hop` samples apart from the next, a step is `pooled` frames."""

    unit_names = ("start", "end")
    differentiable = "samples"
    budget = 30 * RATE
    silence = Sound(np.zeros(RATE, np.float32))
    shortest = 1  # samples; what is shorter is followed by silence

    def __init__(self, name: str, hop: int, pooled: int) -> None:
        super().__init__()
        self.name, self.hop, self.pooled = name, hop, pooled
        self.step_seconds = pooled * hop / RATE

    def prepare(self, raw: Sequence[Sound]) -> dict[str, Tensor]:
        """samples (N, longest) with zeros after each, and their lengths."""
        sounds = [torch.from_numpy(np.asarray(sound.samples, np.float32)) for sound in raw]
        lengths = [max(self.shortest, len(sound)) for sound in sounds]
        samples = torch.zeros(len(raw), max(lengths))
        for row, sound in zip(samples, sounds, strict=True):
            row[: len(sound)] = sound
        return {"samples": samples, "lengths": torch.tensor(lengths)}

    def units(self, raw: Sequence[Sound]) -> list[np.ndarray]:
        lengths = torch.tensor([self.size(sound) for sound in raw])
        ends = [np.arange(1, count + 1) * self.step_seconds for count in self.steps(lengths).tolist()]
        return [np.stack([end - self.step_seconds, end], axis=1).astype(np.float32) for end in ends]

    def size(self, raw: Sound) -> int:
        return max(self.shortest, len(raw.samples))

    def frames(self, lengths: Tensor) -> Tensor:
        """(N,) how many frames so many samples have."""
        return (lengths - 1).div(self.hop, rounding_mode="floor") + 1

    def steps(self, lengths: Tensor) -> Tensor:
        """(N,) how many steps so many samples have."""
        return (self.frames(lengths) - 1).div(self.pooled, rounding_mode="floor") + 1

    def pool(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, D) -> (N, S, D): the mean over the frames of a step that are heard."""
        longest = self.pooled * int(self.steps(lengths).max())
        values = torch.nn.functional.pad(values, (0, 0, 0, longest - values.shape[1]))
        heard = self.heard(lengths, longest)
        sums = (values * heard).unflatten(1, (-1, self.pooled)).sum(dim=2)
        return sums / heard.unflatten(1, (-1, self.pooled)).sum(dim=2).clamp(min=1)

    def heard(self, lengths: Tensor, count: int) -> Tensor:
        """(N, count, 1) 1.0 for the frames that there are, else 0.0."""
        frames = torch.arange(count, device=lengths.device)
        return (frames < self.frames(lengths)[:, None]).float().unsqueeze(2)


def pooling(frame_rate: float, finest: float) -> int:
    """How many frames, of which there are `finest` a second, make a step."""
    return max(1, round(finest / frame_rate))

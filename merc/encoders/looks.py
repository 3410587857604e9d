"""A picture or video network on face crops or on the representative frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.encoders.encoder import Encoder
from merc.encoders.raw import Faces


@dataclass(frozen=True)
class Scaling:
    """How a network was shown pictures in training."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frames: int = 1  # in one clip


class Looks(Encoder):
    """One look, of one frame or a clip of frames, per step."""

    unit_names = ("time", "left", "top", "width", "height")
    halves = True
    differentiable = "clips"
    budget = 64  # looks
    silence = Faces(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 4), np.float32), np.zeros(1, np.float32))

    def __init__(self, name: str, backbone: nn.Module, dim: int, scaling: Scaling, frame_rate: float) -> None:
        """`backbone`: (K, frames, 3, height, width) -> (K, dim)."""
        super().__init__()
        self.name, self.backbone, self.dim, self.scaling = name, backbone, dim, scaling
        self.step_seconds = 1 / frame_rate
        self.register_buffer("mean", torch.tensor(scaling.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(scaling.std)[:, None, None], persistent=False)

    def prepare(self, raw: Sequence[Faces]) -> dict[str, Tensor]:
        """clips (K, frames, 3, height, width), 0 to 1, of all steps end to end; steps (N,)."""
        looks = [self._looks(faces.times) for faces in raw]
        clips = [self._clips(faces.crops, chosen) for faces, chosen in zip(raw, looks, strict=True)]
        return {"clips": torch.cat(clips), "steps": torch.tensor([len(chosen) for chosen in looks])}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        steps = tensors["steps"]
        described = self.backbone((tensors["clips"] - self.mean) / self.std).float()
        return nn.utils.rnn.pad_sequence(described.split(steps.tolist()), True), steps

    def units(self, raw: Sequence[Faces]) -> list[np.ndarray]:
        return [
            np.column_stack([faces.times, faces.boxes]).astype(np.float32)[self._looks(faces.times)].mean(axis=1)
            for faces in raw
        ]

    def size(self, raw: Faces) -> int:
        return len(self._looks(raw.times)) * self.scaling.frames

    def _looks(self, times: np.ndarray) -> np.ndarray:
        """(steps, frames) which frames each step sees: spread evenly over its span, repeated if need be."""
        steps = np.floor((times - times[0]) / self.step_seconds + 1e-4).astype(np.int64)
        spans = [np.flatnonzero(steps == step) for step in np.unique(steps)]
        share = (np.arange(self.scaling.frames) + 0.5) / self.scaling.frames
        return np.stack([span[(share * len(span)).astype(np.int64)] for span in spans])

    def _clips(self, crops: np.ndarray, chosen: np.ndarray) -> Tensor:
        needed, place = np.unique(chosen, return_inverse=True)
        pixels = torch.from_numpy(np.ascontiguousarray(crops[needed])).permute(0, 3, 1, 2).float() / 255
        size = (self.scaling.height, self.scaling.width)
        return functional.interpolate(pixels, size, mode="bilinear", antialias=True)[place.reshape(chosen.shape)]

"""Vision encoder with an image or video network, applied to face crops or to frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.data.records.encoder_inputs import BLACK_PICTURE, VisionInput
from merc.encoders.base.encoder import Encoder


@dataclass(frozen=True)
class InputScaling:
    """Size and normalisation of a network's input images in its training."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frames: int = 1  # frames per clip


class VisionModelEncoder(Encoder):
    """Encodes one clip of one or several frames per step."""

    unit_names = ("time", "left", "top", "width", "height")
    supports_half_precision = True
    differentiable = "clips"
    budget = 64  # frames
    silent_input = BLACK_PICTURE
    mean: Tensor
    std: Tensor

    def __init__(self, name: str, backbone: nn.Module, dim: int, scaling: InputScaling, frame_rate: float) -> None:
        """`backbone` maps clips (K, frames, 3, height, width) to features (K, dim)."""
        super().__init__()
        self.name, self.backbone, self.dim, self.scaling = name, backbone, dim, scaling
        self.step_seconds = 1 / frame_rate
        self.register_buffer("mean", torch.tensor(scaling.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(scaling.std)[:, None, None], persistent=False)

    def prepare(self, raw: Sequence[VisionInput]) -> dict[str, Tensor]:
        """`clips` (K, frames, 3, height, width), 0 to 1, concatenated over all inputs; `steps` (N,)."""
        indices = [self._frame_indices(faces.times) for faces in raw]
        clips = [self._clips(faces.crops, index) for faces, index in zip(raw, indices, strict=True)]
        return {"clips": torch.cat(clips), "steps": torch.tensor([len(index) for index in indices])}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        steps = tensors["steps"]
        values = self.backbone((tensors["clips"] - self.mean) / self.std).float()
        return nn.utils.rnn.pad_sequence(values.split(steps.tolist()), True), steps

    def units(self, raw: Sequence[VisionInput]) -> list[np.ndarray]:
        rows = [np.column_stack([faces.times, faces.boxes]).astype(np.float32) for faces in raw]
        indices = [self._frame_indices(faces.times) for faces in raw]
        return [frames[index].mean(axis=1) for frames, index in zip(rows, indices, strict=True)]

    def size(self, raw: VisionInput) -> int:
        return len(self._frame_indices(raw.times)) * self.scaling.frames

    def _frame_indices(self, times: np.ndarray) -> np.ndarray:
        """(steps, frames) indices of the frames of each step: spread evenly over its span, repeated if too few."""
        steps = np.floor((times - times[0]) / self.step_seconds + 1e-4).astype(np.int64)
        spans = [np.flatnonzero(steps == step) for step in np.unique(steps)]
        positions = (np.arange(self.scaling.frames) + 0.5) / self.scaling.frames
        return np.stack([span[(positions * len(span)).astype(np.int64)] for span in spans])

    def _clips(self, crops: np.ndarray, indices: np.ndarray) -> Tensor:
        """Resized clips (steps, frames, 3, height, width); each frame is resized once."""
        unique, inverse = np.unique(indices, return_inverse=True)
        pixels = torch.from_numpy(np.ascontiguousarray(crops[unique])).permute(0, 3, 1, 2).float() / 255
        size = (self.scaling.height, self.scaling.width)
        return functional.interpolate(pixels, size, mode="bilinear", antialias=True)[inverse.reshape(indices.shape)]

"""What a face looks like, without training: oriented gradients and brightness of its crop, a few steps a second."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from merc.encoders.encoder import Encoder
from merc.encoders.raw import Faces

SIDE = 64  # pixels of a crop, whatever its size was
CELLS = 8  # along a side
BINS = 4  # orientations in half a turn, whose doubled angles are 0, 90, 180 and 270 degrees
TOGETHER = 32  # looks described at once: more pass the processor's cache and take three times as long
BRIGHT = 8  # cells of the brightness map along a side
PARTS = 2  # looks per step: frames between them are skipped, a face changes slowly


class Hog(Encoder):
    """Histograms of oriented gradients (Dalal and Triggs 2005), soft-binned, so that gradients reach the pixels."""

    unit_names = ("time", "left", "top", "width", "height")
    differentiable = "crops"
    budget = 256  # looks
    silence = Faces(np.zeros((1, SIDE, SIDE, 3), np.uint8), np.zeros((1, 4), np.float32), np.zeros(1, np.float32))
    dim = CELLS * CELLS * BINS + BRIGHT * BRIGHT

    def __init__(self, name: str, frame_rate: float) -> None:
        super().__init__()
        self.name, self.step_seconds = name, 1 / frame_rate
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]), persistent=False)  # ITU-R BT.601

    def prepare(self, raw: Sequence[Faces]) -> dict[str, Tensor]:
        """crops (K, 3, SIDE, SIDE), 0 to 1, of all looks end to end; owner and step (K,) of each; steps (N,)."""
        looks = [self._looks(faces.times) for faces in raw]
        crops = [_resize(faces.crops[chosen]) for faces, (chosen, _) in zip(raw, looks, strict=True)]
        counts = torch.tensor([len(chosen) for chosen, _ in looks])
        step = torch.from_numpy(np.concatenate([steps for _, steps in looks]))
        steps = torch.tensor([int(steps[-1]) + 1 for _, steps in looks])
        owner = torch.arange(len(raw)).repeat_interleave(counts)
        return {"crops": torch.cat(crops), "owner": owner, "step": step, "steps": steps}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        steps, described = tensors["steps"], self.describe(tensors["crops"])
        longest = int(steps.max())
        place = tensors["owner"] * longest + tensors["step"]
        sums = described.new_zeros(len(steps) * longest, self.dim).index_add(0, place, described)
        counts = described.new_zeros(len(sums)).index_add(0, place, described.new_ones(len(place)))
        return (sums / counts.clamp(min=1)[:, None]).view(len(steps), longest, self.dim), steps

    def units(self, raw: Sequence[Faces]) -> list[np.ndarray]:
        return [self._units(faces) for faces in raw]

    def size(self, raw: Faces) -> int:
        return len(self._looks(raw.times)[0])

    def describe(self, crops: Tensor) -> Tensor:
        """(K, 3, SIDE, SIDE) -> (K, dim)."""
        return torch.cat([self._describe(some) for some in crops.split(TOGETHER)])

    def _describe(self, crops: Tensor) -> Tensor:
        grey = torch.einsum("kchw,c->khw", crops, self.luma)[:, None]
        centred = grey - grey.mean(dim=(2, 3), keepdim=True)
        grey = centred * (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-3).rsqrt()  # contrast taken out
        histograms = self._histograms(grey)
        bright = functional.adaptive_avg_pool2d(grey, BRIGHT)
        return torch.cat([histograms.flatten(1), bright.flatten(1)], dim=1)

    def _histograms(self, grey: Tensor) -> Tensor:
        """(K, 1, SIDE, SIDE) -> (K, BINS, CELLS, CELLS), each cell relative to its neighbourhood."""
        padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
        across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
        down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
        right, low = across.square(), down.square()
        square = right + low + 1e-6
        # twice the angle, so that opposite directions agree: cos 2a = (x^2 - y^2) / m^2, sin 2a = 2xy / m^2
        doubled = torch.cat([right - low, 2 * across * down], dim=1)
        alike = torch.cat([doubled, -doubled], dim=1).relu().square()  # times m^4
        cells = functional.avg_pool2d(alike * (square.rsqrt() / square), SIDE // CELLS)
        around = functional.avg_pool2d(cells.square().sum(dim=1, keepdim=True), 3, 1, 1, count_include_pad=False)
        return cells * (around + 1e-3).rsqrt()

    def _looks(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the frames that are looked at, and the step that each belongs to."""
        parts = np.floor((times - times[0]) / self.step_seconds * PARTS + 1e-4).astype(np.int64)
        chosen = np.unique(parts, return_index=True)[1]
        steps = np.unique(parts[chosen] // PARTS, return_inverse=True)[1]
        return chosen, steps

    def _units(self, faces: Faces) -> np.ndarray:
        chosen, steps = self._looks(faces.times)
        rows = np.column_stack([faces.times, faces.boxes])[chosen].astype(np.float32)
        return np.stack([rows[steps == step].mean(axis=0) for step in range(steps[-1] + 1)])


def _resize(crops: np.ndarray) -> Tensor:
    """(F, h, w, 3) uint8 -> (F, 3, SIDE, SIDE) float32, 0 to 1."""
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255
    if pixels.shape[2:] == (SIDE, SIDE):
        return pixels
    return functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)

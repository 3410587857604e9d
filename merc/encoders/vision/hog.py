"""Training-free face encoder: oriented gradients and brightness of the crop, a few steps per second."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from merc.data.records.encoder_inputs import BLACK_PICTURE, VisionInput
from merc.encoders.base.encoder import Encoder

SIDE = 64  # pixels to which crops are resized
CELLS = 8  # histogram cells along a side
BINS = 4  # orientations in half a turn, whose doubled angles are 0, 90, 180 and 270 degrees
CROPS_PER_CHUNK = 32  # crops per chunk: larger chunks exceed the processor's cache and take three times as long
BRIGHTNESS_CELLS = 8  # cells of the brightness map along a side
CROPS_PER_STEP = 2  # crops per step: frames in between are skipped, as a face changes slowly


# the edges that vote for each orientation of the gradient, which is at right angles to them
EDGES = ("upright", "rising", "level", "falling")


def feature_names() -> list[str]:
    """What each number of a step is; cells are counted by row and column from 1, top left."""
    cells = [f"{row},{column}" for row in range(1, CELLS + 1) for column in range(1, CELLS + 1)]
    return [f"hog cell {cell} {edge}" for edge in EDGES for cell in cells] + [
        f"hog cell {cell} brightness" for cell in cells
    ]


class Hog(Encoder):
    """Histograms of oriented gradients (Dalal and Triggs 2005), soft-binned so that gradients reach the pixels."""

    unit_names = ("time", "left", "top", "width", "height")
    differentiable = "crops"
    budget = 256  # crops
    silent_input = BLACK_PICTURE
    dim = CELLS * CELLS * BINS + BRIGHTNESS_CELLS * BRIGHTNESS_CELLS

    def __init__(self, name: str, frame_rate: float) -> None:
        super().__init__()
        self.name, self.step_seconds = name, 1 / frame_rate
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]), persistent=False)  # ITU-R BT.601

    def prepare(self, raw: Sequence[VisionInput]) -> dict[str, Tensor]:
        """`crops` (K, 3, SIDE, SIDE), 0 to 1, of all inputs; `owner` (row), `step` (K,) of each; `steps` (N,)."""
        samples = [self._sample(faces.times) for faces in raw]
        crops = [_resize(faces.crops[indices]) for faces, (indices, _) in zip(raw, samples, strict=True)]
        counts = torch.tensor([len(indices) for indices, _ in samples])
        step = torch.from_numpy(np.concatenate([steps for _, steps in samples]))
        steps = torch.tensor([int(steps[-1]) + 1 for _, steps in samples])
        owner = torch.arange(len(raw)).repeat_interleave(counts)
        return {"crops": torch.cat(crops), "owner": owner, "step": step, "steps": steps}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        steps, descriptors = tensors["steps"], self.describe(tensors["crops"])
        max_steps = int(steps.max())
        index = tensors["owner"] * max_steps + tensors["step"]
        sums = descriptors.new_zeros(len(steps) * max_steps, self.dim).index_add(0, index, descriptors)
        counts = descriptors.new_zeros(len(sums)).index_add(0, index, descriptors.new_ones(len(index)))
        return (sums / counts.clamp(min=1)[:, None]).view(len(steps), max_steps, self.dim), steps

    def units(self, raw: Sequence[VisionInput]) -> list[np.ndarray]:
        return [self._units(faces) for faces in raw]

    def size(self, raw: VisionInput) -> int:
        return len(self._sample(raw.times)[0])

    def describe(self, crops: Tensor) -> Tensor:
        """Descriptors (K, dim) of crops (K, 3, SIDE, SIDE)."""
        return torch.cat([self._describe(chunk) for chunk in crops.split(CROPS_PER_CHUNK)])

    def _describe(self, crops: Tensor) -> Tensor:
        grey = torch.einsum("kchw,c->khw", crops, self.luma)[:, None]
        centred = grey - grey.mean(dim=(2, 3), keepdim=True)
        grey = centred * (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-3).rsqrt()  # normalise the contrast
        histograms = self._histograms(grey)
        brightness = functional.adaptive_avg_pool2d(grey, BRIGHTNESS_CELLS)
        return torch.cat([histograms.flatten(1), brightness.flatten(1)], dim=1)

    def _histograms(self, grey: Tensor) -> Tensor:
        """(K, 1, SIDE, SIDE) -> (K, BINS, CELLS, CELLS), each cell normalised by its neighbourhood."""
        padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
        across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
        down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
        across_squared, down_squared = across.square(), down.square()
        squared = across_squared + down_squared + 1e-6  # m^2
        # twice the angle, so that opposite directions agree: cos 2a = (x^2 - y^2) / m^2, sin 2a = 2xy / m^2
        doubled = torch.cat([across_squared - down_squared, 2 * across * down], dim=1)
        votes = torch.cat([doubled, -doubled], dim=1).relu().square()  # times m^4
        cells = functional.avg_pool2d(votes * (squared.rsqrt() / squared), SIDE // CELLS)
        energy = functional.avg_pool2d(cells.square().sum(dim=1, keepdim=True), 3, 1, 1, count_include_pad=False)
        return cells * (energy + 1e-3).rsqrt()

    def _sample(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the frames that are encoded, and the step of each."""
        parts = np.floor((times - times[0]) / self.step_seconds * CROPS_PER_STEP + 1e-4).astype(np.int64)
        indices = np.unique(parts, return_index=True)[1]
        steps = np.unique(parts[indices] // CROPS_PER_STEP, return_inverse=True)[1]
        return indices, steps

    def _units(self, faces: VisionInput) -> np.ndarray:
        indices, steps = self._sample(faces.times)
        rows = np.column_stack([faces.times, faces.boxes])[indices].astype(np.float32)
        return np.stack([rows[steps == step].mean(axis=0) for step in range(steps[-1] + 1)])


def _resize(crops: np.ndarray) -> Tensor:
    """Crops (F, height, width, 3) uint8 -> (F, 3, SIDE, SIDE) float32, 0 to 1."""
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255
    if pixels.shape[2:] == (SIDE, SIDE):
        return pixels
    return functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)

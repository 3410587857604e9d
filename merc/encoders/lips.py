"""The lip-sync network's embeddings: what a voice and a mouth have in common, 25 times a second before pooling."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc import mouths
from merc.encoders.encoder import Encoder
from merc.encoders.hearing import Hearing, pooling
from merc.encoders.raw import Faces
from merc.encoders.spectrum import frame
from merc.problem import Problem
from merc.results import read_json
from merc.tracks import RATE
from models import lipsync

AROUND = lipsync.REACH // 2  # pictures on either side that an embedding sees; the first and last are repeated


class Voice(Hearing):
    """The audio tower. Its input is levelled over the whole utterance, so each sound goes alone."""

    def __init__(self, name: str, tower: nn.Module, dim: int, frame_rate: float) -> None:
        super().__init__(name, mouths.HOP * mouths.FRAMES_PER_PICTURE, pooling(frame_rate, RATE))
        self.tower, self.dim = tower, dim
        window = torch.from_numpy(np.hanning(mouths.WINDOW).astype(np.float32))
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bands", torch.from_numpy(mouths.bands().astype(np.float32)), persistent=False)

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        counts = self.frames(lengths).tolist()
        rows = zip(samples, lengths.tolist(), counts, strict=True)
        heard = [self._hear(row[None, :length], count) for row, length, count in rows]
        return self.pool(nn.utils.rnn.pad_sequence(heard, True), lengths), self.steps(lengths)

    def _hear(self, samples: Tensor, pictures: int) -> Tensor:
        """(1, L) -> (pictures, dim)."""
        frames = frame(samples, pictures * mouths.FRAMES_PER_PICTURE, mouths.WINDOW, mouths.HOP) * self.window
        power = torch.fft.rfft(frames, mouths.SPECTRUM).abs().square() / mouths.WINDOW
        bands = (power @ self.bands + mouths.FLOOR).log()
        aside = AROUND * mouths.FRAMES_PER_PICTURE
        levelled = (bands - bands.mean()).transpose(1, 2)
        return self.tower(functional.pad(levelled, (aside, aside), mode="replicate").transpose(1, 2))[0]


class Lips(Encoder):
    """The mouth tower. It sees how a mouth differs from its own mean, so each face goes alone."""

    unit_names = ("time", "left", "top", "width", "height")
    differentiable = "mouths"
    budget = 2048  # pictures
    silence = Faces(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 4), np.float32), np.zeros(1, np.float32))

    def __init__(self, name: str, tower: nn.Module, dim: int, frame_rate: float) -> None:
        super().__init__()
        self.name, self.tower, self.dim = name, tower, dim
        self.step_seconds = 1 / min(frame_rate, RATE)

    def prepare(self, raw: Sequence[Faces]) -> dict[str, Tensor]:
        """mouths (N, F, height, width), 0 to 255, and the step (N, F) of each; pictures, steps (N,)."""
        pictures = [torch.from_numpy(mouths.mouths(faces.crops)).float() for faces in raw]
        step = [torch.from_numpy(self._steps(faces)) for faces in raw]
        return {
            "mouths": nn.utils.rnn.pad_sequence(pictures, True),
            "step": nn.utils.rnn.pad_sequence(step, True),
            "pictures": torch.tensor([len(one) for one in pictures]),
            "steps": torch.tensor([int(one[-1]) + 1 for one in step]),
        }

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        counts = tensors["pictures"].tolist(), tensors["steps"].tolist()
        rows = zip(tensors["mouths"], tensors["step"], *counts, strict=True)
        seen = [self._see(mouth[:pictures], step[:pictures], steps) for mouth, step, pictures, steps in rows]
        return nn.utils.rnn.pad_sequence(seen, True), tensors["steps"]

    def units(self, raw: Sequence[Faces]) -> list[np.ndarray]:
        return [self._units(faces) for faces in raw]

    def size(self, raw: Faces) -> int:
        return len(raw.times)

    def _see(self, mouth: Tensor, step: Tensor, steps: int) -> Tensor:
        """(F, height, width) -> (steps, dim): the mean over each step's pictures."""
        padded = torch.cat([mouth[:1].expand(AROUND, -1, -1), mouth, mouth[-1:].expand(AROUND, -1, -1)])
        each = self.tower(padded[None])[0]
        sums = each.new_zeros(steps, self.dim).index_add(0, step, each)
        return sums / each.new_zeros(steps).index_add(0, step, each.new_ones(len(step)))[:, None]

    def _steps(self, faces: Faces) -> np.ndarray:
        """(F,) int64: the step of each picture; steps without a picture are left out."""
        spans = np.floor((faces.times - faces.times[0]) / self.step_seconds + 1e-4).astype(np.int64)
        return np.unique(spans, return_inverse=True)[1].astype(np.int64)

    def _units(self, faces: Faces) -> np.ndarray:
        rows, step = np.column_stack([faces.times, faces.boxes]).astype(np.float32), self._steps(faces)
        return np.stack([rows[step == one].mean(axis=0) for one in range(step[-1] + 1)])


def voice(name: str, folder: Path, frame_rate: float) -> Voice:
    """The audio tower that the lip-sync stage left in a folder."""
    dim = _dim("audio", name, folder)
    return Voice(name, lipsync.load_audio(folder), dim, frame_rate)


def lips(name: str, folder: Path, frame_rate: float) -> Lips:
    """The mouth tower that the lip-sync stage left in a folder."""
    dim = _dim("vision", name, folder)
    return Lips(name, lipsync.load(folder).mouth, dim, frame_rate)


def _dim(modality: str, name: str, folder: Path) -> int:
    """The width of an embedding; refuses a stage that is off."""
    if (folder / "off.json").is_file():
        reason = read_json(folder / "off.json")["off"]
        raise Problem(
            f"params.yaml: encode.{modality}.encoder = {name!r}: lip-sync is off ({reason}); "
            f"set lipsync.epochs, or choose another encoder"
        )
    if not (folder / "model.safetensors").is_file():
        raise Problem(f"{folder}: not there; run `dvc repro lipsync`")
    return read_json(folder / "config.json")["dim"]

"""Mouth tower of the lip-sync network as an encoder: 25 embeddings per second before pooling."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from merc.data.records.encoder_inputs import BLACK_PICTURE, VisionInput
from merc.data.records.face_tracks import TRACK_FPS
from merc.encoders.base.encoder import Encoder
from merc.encoders.lipsync import clip_inputs
from merc.encoders.lipsync.synchrony import CONTEXT_PICTURES, embedding_width
from models import lipsync


class LipSyncMouthEncoder(Encoder):
    """The mouth tower. Its input is normalised by the mean of the mouth, so that faces are encoded one by one."""

    unit_names = ("time", "left", "top", "width", "height")
    differentiable = "mouths"
    budget = 2048  # pictures
    silent_input = BLACK_PICTURE

    def __init__(self, name: str, tower: nn.Module, dim: int, frame_rate: float) -> None:
        super().__init__()
        self.name, self.tower, self.dim = name, tower, dim
        self.step_seconds = 1 / min(frame_rate, TRACK_FPS)

    def prepare(self, raw: Sequence[VisionInput]) -> dict[str, Tensor]:
        """`mouths` (N, F, height, width), 0 to 255; `step` (N, F) of each; counts `pictures`, `steps` (N,)."""
        pictures = [torch.from_numpy(clip_inputs.mouth_regions(faces.crops)).float() for faces in raw]
        step = [torch.from_numpy(self._steps(faces)) for faces in raw]
        return {
            "mouths": nn.utils.rnn.pad_sequence(pictures, True),
            "step": nn.utils.rnn.pad_sequence(step, True),
            "pictures": torch.tensor([len(row) for row in pictures]),
            "steps": torch.tensor([int(row[-1]) + 1 for row in step]),
        }

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        counts = tensors["pictures"].tolist(), tensors["steps"].tolist()
        rows = zip(tensors["mouths"], tensors["step"], *counts, strict=True)
        values = [self._encode(mouth[:pictures], step[:pictures], steps) for mouth, step, pictures, steps in rows]
        return nn.utils.rnn.pad_sequence(values, True), tensors["steps"]

    def units(self, raw: Sequence[VisionInput]) -> list[np.ndarray]:
        return [self._units(faces) for faces in raw]

    def size(self, raw: VisionInput) -> int:
        return len(raw.times)

    def _encode(self, mouth: Tensor, step: Tensor, steps: int) -> Tensor:
        """Mouths (F, height, width) -> (steps, dim): the mean over the pictures of each step."""
        padded = torch.cat(
            [mouth[:1].expand(CONTEXT_PICTURES, -1, -1), mouth, mouth[-1:].expand(CONTEXT_PICTURES, -1, -1)]
        )
        embeddings = self.tower(padded[None])[0]
        sums = embeddings.new_zeros(steps, self.dim).index_add(0, step, embeddings)
        counts = embeddings.new_zeros(steps).index_add(0, step, embeddings.new_ones(len(step)))
        return sums / counts[:, None]

    def _steps(self, faces: VisionInput) -> np.ndarray:
        """Step index (F,) int64 of each picture; steps without a picture are left out."""
        spans = np.floor((faces.times - faces.times[0]) / self.step_seconds + 1e-4).astype(np.int64)
        return np.unique(spans, return_inverse=True)[1].astype(np.int64)

    def _units(self, faces: VisionInput) -> np.ndarray:
        rows, step = np.column_stack([faces.times, faces.boxes]).astype(np.float32), self._steps(faces)
        return np.stack([rows[step == index].mean(axis=0) for index in range(step[-1] + 1)])


def load_lipsync_mouth(name: str, folder: Path, frame_rate: float) -> LipSyncMouthEncoder:
    """Load the mouth tower from a folder of the lip-sync stage."""
    dim = embedding_width("vision", name, folder)
    return LipSyncMouthEncoder(name, lipsync.load(folder).mouth, dim, frame_rate)

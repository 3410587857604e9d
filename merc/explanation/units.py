"""Units of the steps of a split's features, and its encoders' blanks: their outputs for an empty input."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from merc.data.batches.dataset import Split
from merc.data.records import packs
from merc.data.records.stream_name import StreamName


@dataclass(frozen=True)
class Units:
    """By stream, without imported streams, whose files do not say what a step is."""

    steps: dict[str, list[np.ndarray]]  # (steps, unit names) of each row of the split, empty where it is absent
    blanks: dict[str, Tensor]  # (steps, D) float32
    seconds: dict[str, float | None]  # that a step lasts

    def of(self, rows: np.ndarray) -> dict[str, list[np.ndarray]]:
        """The units of the steps of each of these rows."""
        return {stream: [arrays[row] for row in rows] for stream, arrays in self.steps.items()}


def read(name: str, corpora: list[str], split: Split) -> Units:
    """Read units and blanks, which batches do not have, from the packs of the split called `name`."""
    units = Units({}, {}, {})
    for modality in split.modalities:
        for corpus in corpora:
            rows = np.flatnonzero(split.manifest["corpus"] == corpus)
            manifest = split.manifest.iloc[rows].reset_index(drop=True)
            pack = packs.read_pack(packs.pack_path(name, corpus, modality), manifest)
            stream = str(StreamName(modality, pack.encoder))
            if pack.unit_names and stream in split.features:
                _add(units, stream, rows, pack, split)
    return units


def _add(units: Units, stream: str, rows: np.ndarray, pack: packs.Pack, split: Split) -> None:
    nothing = np.zeros((0, len(pack.unit_names)), np.float32)
    arrays = units.steps.setdefault(stream, [nothing] * len(split))
    for row, first, length in zip(
        rows, pack.offsets[:-1], split.features[stream].lengths[rows].tolist(), strict=True
    ):
        arrays[row] = pack.units[first : first + length]
    units.blanks[stream] = torch.from_numpy(pack.blank.astype(np.float32))
    units.seconds[stream] = pack.step_seconds

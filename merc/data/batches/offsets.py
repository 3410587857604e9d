"""What a network subtracts from the steps of a row because its speaker is known; found for the rows of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from merc.data.batches.streams import FeatureStream

NOBODY = -1  # the number of a row whose speaker is not known: a speaker of its own


@dataclass(frozen=True)
class RowOffsets:
    """The offsets of N rows of a stream (merc/training/core/speaker_offsets.py says how they are estimated).

    Those of K known speakers are in a table. That of a row without one is computed from its own steps when it is
    asked for, so that memory does not grow with the rows.
    """

    stream: FeatureStream
    who: Tensor  # (N,) long: a row of the table, or NOBODY
    table: Tensor  # (K, D)
    usual: np.ndarray  # (D,)
    ratio: np.ndarray  # (D,)

    def of(self, rows: Tensor) -> Tensor:
        """(n, D) the offsets of these rows; 0 for one of which nothing is known."""
        who = self.who[rows]
        offsets = self.table.new_zeros(len(rows), self.table.shape[1])
        offsets[who != NOBODY] = self.table[who[who != NOBODY]]
        alone = ((who == NOBODY) & (self.stream.lengths[rows] > 0)).nonzero().squeeze(1)
        if len(alone):
            own = row_means(self.stream, rows[alone]) - self.usual
            with np.errstate(invalid="ignore"):  # 0 / 0 is no difference
                shrunk = np.nan_to_num(own / (1 + self.ratio)).astype(np.float32)
            offsets[alone] = torch.from_numpy(shrunk).to(offsets.device)
        return offsets

    def take(self, index: Tensor) -> RowOffsets:
        """The offsets of these rows."""
        return replace(self, stream=self.stream.take(index), who=self.who[index])

    def to(self, device: torch.device | str) -> RowOffsets:
        """Copy with every tensor on `device`."""
        return replace(self, stream=self.stream.to(device), who=self.who.to(device), table=self.table.to(device))


def row_means(stream: FeatureStream, rows: Tensor) -> np.ndarray:
    """(n, D) the means over the steps of n rows that have some, where these are finite; NaN where none is."""
    values, lengths = stream.steps_of(rows).cpu().numpy(), stream.lengths[rows].cpu().numpy()
    first, known = np.cumsum(lengths) - lengths, np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0).astype(np.float64), first)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return total / np.add.reduceat(known.astype(np.int64), first)

"""Streams: the features that one encoder made of one modality, ragged, over all rows of a split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merc import packs
from merc.problem import Problem

SMALLEST_SPREAD = 1e-6  # a feature that varies less is constant; it is shifted and left unscaled


@dataclass(frozen=True)
class Stream:
    """Row i owns values[starts[i] : starts[i] + lengths[i]]; an absent row has length 0."""

    values: Tensor  # (steps, D) float32; NaN where the encoder gave no number: the network's mean stands in
    starts: Tensor  # (N,) long
    lengths: Tensor  # (N,) long

    @property
    def dim(self) -> int:
        return self.values.shape[1]

    @property
    def blanks(self) -> int:
        """How many numbers inside present rows are NaN."""
        return int(self.values.isnan().sum())

    def to(self, device: torch.device | str) -> "Stream":
        return replace(self, **{name: getattr(self, name).to(device) for name in ("values", "starts", "lengths")})

    def pack(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `gather`, the values one utterance after another: (sum of steps, D), nothing padded."""
        which = self.lengths[index].nonzero().squeeze(1)
        owners = index[which]
        steps = self.lengths[owners]
        first = torch.repeat_interleave(self.starts[owners] - (steps.cumsum(0) - steps), steps)
        step = first + torch.arange(len(first), device=index.device)
        return self.values.index_select(0, step), which, steps  # copies whole rows: faster than values[step]

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the rows `index` (N,) those present: values (n, S, D) zero-padded, which of the N (n,), steps (n,)."""
        which = self.lengths[index].nonzero().squeeze(1)
        owners = index[which]
        steps = self.lengths[owners]
        grid = torch.arange(int(steps.max()) if len(steps) else 0, device=index.device)
        inside = grid < steps[:, None]
        position = torch.where(inside, self.starts[owners][:, None] + grid, 0)
        return self.values[position].masked_fill(~inside[:, :, None], 0.0), which, steps

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) over all steps, NaN left out."""
        values = self.values.cpu().numpy()
        known = np.isfinite(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.sum(values, axis=0, dtype=np.float64, where=known) / count
        spread = np.sqrt(np.sum((values - mean) ** 2, axis=0, dtype=np.float64, where=known) / count)
        scale = np.where(spread < SMALLEST_SPREAD, 1.0, spread)
        return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))


def read_streams(
    split: str, corpora: list[str], modalities: Sequence[str], manifest: pd.DataFrame
) -> dict[str, Stream]:
    """Every stream that the packs hold, by name; a row whose corpus has another encoder is absent in it."""
    parts: dict[str, list[tuple[np.ndarray, packs.Pack]]] = {}
    for modality in modalities:
        for corpus in corpora:
            rows = np.flatnonzero(manifest["corpus"] == corpus)
            pack = packs.read(packs.path(split, corpus, modality), manifest.iloc[rows].reset_index(drop=True))
            if pack.dim:
                parts.setdefault(f"{modality}/{pack.encoder}", []).append((rows, pack))
    for name, own in parts.items():
        _alike(name, [pack.dim for _, pack in own])
    return {name: _join(own, len(manifest)) for name, own in parts.items()}


def _alike(name: str, widths: list[int]) -> None:
    """Imported features of one name may be others in another corpus."""
    if len(set(widths)) > 1:
        raise Problem(
            f"{name}: {' and '.join(map(str, widths))} numbers wide by corpus; give one another file name"
        )


def _join(parts: list[tuple[np.ndarray, packs.Pack]], rows: int) -> Stream:
    starts, lengths, before = np.zeros(rows, np.int64), np.zeros(rows, np.int64), 0
    for own, pack in parts:
        starts[own] = pack.offsets[:-1] + before
        lengths[own] = np.diff(pack.offsets)
        before += len(pack.values)
    values = np.concatenate([pack.values for _, pack in parts]).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    lengths[_empty(values, starts, lengths)] = 0
    return Stream(*map(torch.from_numpy, (values, starts, lengths)))


def _empty(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N,) bool: rows without a single number."""
    told = np.append(0, np.cumsum(np.isfinite(values).any(1)))
    return told[starts + lengths] == told[starts]

"""Streams: ragged feature sequences of one encoder and one modality over all rows of a split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merc.data.records import packs
from merc.runtime.errors import UserError

SMALLEST_SPREAD = 1e-6  # standard deviation below which a feature counts as constant and is not scaled


@dataclass(frozen=True)
class FeatureStream:
    """Row i owns values[starts[i] : starts[i] + lengths[i]]; an absent row has length 0."""

    values: Tensor  # (steps, D) float32; NaN where the encoder gave no number: replaced by the mean in the network
    starts: Tensor  # (N,) long
    lengths: Tensor  # (N,) long

    @property
    def dim(self) -> int:
        """Feature dimension D."""
        return self.values.shape[1]

    def to(self, device: torch.device | str) -> "FeatureStream":
        """Copy with every tensor on `device`."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("values", "starts", "lengths")})

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Present rows of `index` (N,): values (n, S, D) zero-padded, positions in `index` (n,), lengths (n,)."""
        rows = self.lengths[index].nonzero().squeeze(1)
        present = index[rows]
        steps = self.lengths[present]
        grid = torch.arange(int(steps.max()) if len(steps) else 0, device=index.device)
        is_step = grid < steps[:, None]
        values = self.values.new_zeros(*is_step.shape, self.dim)
        values[is_step] = self.values.index_select(0, (self.starts[present][:, None] + grid)[is_step])
        return values, rows, steps

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) over all steps, ignoring NaN; 1 for a constant feature."""
        values = self.values.cpu().numpy()
        is_finite = np.isfinite(values)
        count = np.maximum(is_finite.sum(0), 1)
        mean = np.sum(values, axis=0, dtype=np.float64, where=is_finite) / count
        deviation = np.sqrt(np.sum((values - mean) ** 2, axis=0, dtype=np.float64, where=is_finite) / count)
        scale = np.where(deviation < SMALLEST_SPREAD, 1.0, deviation)
        return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))


def read_streams(
    split: str, corpora: list[str], modalities: Sequence[str], manifest: pd.DataFrame
) -> dict[str, FeatureStream]:
    """Read all streams, by name <modality>/<encoder>; a row whose corpus has another encoder is absent."""
    parts: dict[str, list[tuple[np.ndarray, packs.Pack]]] = {}
    for modality in modalities:
        for corpus in corpora:
            rows = np.flatnonzero(manifest["corpus"] == corpus)
            pack = packs.read_pack(
                packs.pack_path(split, corpus, modality), manifest.iloc[rows].reset_index(drop=True)
            )
            if pack.dim:
                parts.setdefault(f"{modality}/{pack.encoder}", []).append((rows, pack))
    for name, corpus_parts in parts.items():
        _check_widths(name, [pack.dim for _, pack in corpus_parts])
    return {name: _join(corpus_parts, len(manifest)) for name, corpus_parts in parts.items()}


def _check_widths(name: str, widths: list[int]) -> None:
    """Raise if a stream's dimension differs between corpora: imported features may share a name by mistake."""
    if len(set(widths)) > 1:
        raise UserError(
            f"{name}: {' and '.join(map(str, widths))} numbers wide by corpus; give one another file name"
        )


def _join(parts: list[tuple[np.ndarray, packs.Pack]], num_rows: int) -> FeatureStream:
    """Concatenate the packs of several corpora, each with its row numbers in the split."""
    starts, lengths, first = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64), 0
    for rows, pack in parts:
        starts[rows] = pack.offsets[:-1] + first
        lengths[rows] = np.diff(pack.offsets)
        first += len(pack.values)
    values = np.concatenate([pack.values for _, pack in parts]).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    lengths[_is_empty(values, starts, lengths)] = 0
    return FeatureStream(*map(torch.from_numpy, (values, starts, lengths)))


def _is_empty(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N,) bool: rows without a single finite value."""
    num_finite = np.append(0, np.cumsum(np.isfinite(values).any(1)))  # steps with any finite value, cumulated
    return num_finite[starts + lengths] == num_finite[starts]

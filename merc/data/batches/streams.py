"""Streams: ragged feature sequences of one encoder and one modality over all rows of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from merc.data.records import packs
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 16_384  # steps that are looked at once: 50 MB of 768 numbers
BLOCK_ROWS = 1024  # rows whose steps are looked at once
SMALLEST_SPREAD = 1e-6  # standard deviation below which a feature counts as constant and is not scaled


@dataclass(frozen=True)
class FeatureStream:
    """Row i owns the steps starts[i] : starts[i] + lengths[i], counted through all parts; an absent row has none.

    A part lies in the file of a pack, of which the system reads the pages that are looked at, and which several
    processes share; only what `gather` and `blocks` return is in memory of one's own.
    """

    parts: tuple[Tensor, ...]  # (steps, D) each, float16 or float32, as stored
    starts: Tensor  # (N,) long
    lengths: Tensor  # (N,) long
    has_gaps: bool  # whether some number is not finite: gathered as NaN, which the network replaces by the mean

    @classmethod
    def of(cls, values: Tensor, starts: Tensor, lengths: Tensor) -> FeatureStream:
        """A stream of one part."""
        return cls.of_parts((values,), starts, lengths)

    @classmethod
    def of_parts(cls, parts: tuple[Tensor, ...], starts: Tensor, lengths: Tensor) -> FeatureStream:
        """A stream whose parts are looked through for numbers that are not finite."""
        is_whole = all(bool(block.isfinite().all()) for part in parts for block in part.split(BLOCK))
        return cls(parts, starts, lengths, not is_whole)

    @property
    def dim(self) -> int:
        """Feature dimension D."""
        return self.parts[0].shape[1]

    def to(self, device: torch.device | str) -> FeatureStream:
        """Copy with every tensor on `device`."""
        parts = tuple(part.to(device) for part in self.parts)
        return replace(self, parts=parts, starts=self.starts.to(device), lengths=self.lengths.to(device))

    def take(self, index: Tensor) -> FeatureStream:
        """The stream of these rows."""
        return replace(self, starts=self.starts[index], lengths=self.lengths[index])

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Present rows of `index` (N,): values (n, S, D) zero-padded, positions in `index` (n,), lengths (n,)."""
        rows = self.lengths[index].nonzero().squeeze(1)
        present = index[rows]
        steps = self.lengths[present]
        grid = torch.arange(int(steps.max()) if len(steps) else 0, device=index.device)
        is_step = grid < steps[:, None]
        values = torch.zeros(*is_step.shape, self.dim, device=index.device)
        values[is_step] = self._take((self.starts[present][:, None] + grid)[is_step])
        return values, rows, steps

    def steps_of(self, index: Tensor) -> Tensor:
        """(steps, D) float32: the steps of the rows of `index` (N,), one row after the other."""
        lengths = self.lengths[index]
        before = lengths.cumsum(0) - lengths
        offsets = torch.repeat_interleave(self.starts[index] - before, lengths)
        return self._take(offsets + torch.arange(len(offsets), device=index.device))

    def blocks(self) -> Iterator[Tensor]:
        """All steps in order, at most BLOCK at once: (steps, D) float32, NaN where a number is not finite."""
        for part in self.parts:
            for block in part.split(BLOCK):
                yield self._numbers(block)

    def statistics(self, offsets: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) over all steps, ignoring NaN; 1 for a constant feature.

        `offsets`: rows (n,) -> (n, D), subtracted from their steps.
        """
        blocks = self._arrays if offsets is None else partial(self._less, offsets)
        count = np.maximum(sum(np.isfinite(block).sum(0) for block in blocks()), 1)
        mean = self._sum(blocks, lambda block: block) / count
        deviation = np.sqrt(self._sum(blocks, lambda block: (block - mean) ** 2) / count)
        scale = np.where(deviation < SMALLEST_SPREAD, 1.0, deviation)
        return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))

    def _arrays(self) -> Iterator[np.ndarray]:
        return (block.cpu().numpy() for block in self.blocks())

    def _less(self, offsets: Callable[[Tensor], Tensor]) -> Iterator[np.ndarray]:
        """The steps of all rows, less the offset of their row."""
        for rows in torch.arange(len(self.lengths), device=self.lengths.device).split(BLOCK_ROWS):
            less = offsets(rows).repeat_interleave(self.lengths[rows], 0)
            yield (self.steps_of(rows) - less).cpu().numpy()

    def _sum(
        self, blocks: Callable[[], Iterator[np.ndarray]], function: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """(D,) sum over all steps of a function of them, step after step."""
        total = np.zeros((1, self.dim))
        for block in blocks():
            values = np.concatenate([total, function(block)])
            total = np.sum(values, axis=0, where=np.isfinite(values), keepdims=True)
        return total[0]

    def _take(self, steps: Tensor) -> Tensor:
        """(n, D) float32: steps by number."""
        if len(self.parts) == 1:
            return self._numbers(self.parts[0].index_select(0, steps))
        values, first = torch.empty(len(steps), self.dim, device=steps.device), 0
        for part in self.parts:
            is_here = (steps >= first) & (steps < first + len(part))
            values[is_here] = part.index_select(0, steps[is_here] - first).float()
            first += len(part)
        return self._numbers(values)

    def _numbers(self, values: Tensor) -> Tensor:
        values = values.float()
        return torch.where(values.isfinite(), values, torch.nan) if self.has_gaps else values


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
    """The packs of several corpora, each with its row numbers in the split."""
    starts, lengths, first = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64), 0
    has_gaps = False
    for rows, pack in parts:
        has_numbers, is_whole = _numbers(pack)
        starts[rows] = pack.offsets[:-1] + first
        lengths[rows] = np.where(has_numbers, np.diff(pack.offsets), 0)
        has_gaps |= not is_whole
        first += len(pack.values)
    values = tuple(torch.from_numpy(pack.values) for _, pack in parts)
    return FeatureStream(values, torch.from_numpy(starts), torch.from_numpy(lengths), has_gaps)


def _numbers(pack: packs.Pack) -> tuple[np.ndarray, bool]:
    """(N,) bool: rows with at least one finite number; and whether all numbers are finite."""
    has_number, is_whole = np.zeros(len(pack.values), bool), True
    for first in range(0, len(pack.values), BLOCK):
        is_finite = np.isfinite(pack.values[first : first + BLOCK])
        has_number[first : first + BLOCK] = is_finite.any(1)
        is_whole &= bool(is_finite.all())
    cumulated = np.concatenate([[0], np.cumsum(has_number)])
    return cumulated[pack.offsets[1:]] > cumulated[pack.offsets[:-1]], is_whole

"""From a manifest to a pack: read, encode, measure the units, in shards that do not depend on the machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from merc import packs, work
from merc.encoders.card import Reader
from merc.encoders.encoder import Encoder, features
from merc.encoders.raw import Sound
from merc.packs import Pack
from merc.problem import Problem

SHARD = 128  # rows at least; whole dialogues
Encoded = tuple[np.ndarray, np.ndarray] | None  # values, units


@dataclass(frozen=True)
class _Job:
    """Encodes rows of one manifest; handed to worker processes once."""

    encoder: Encoder
    reader: Reader
    folder: Path

    def __call__(self, rows: pd.DataFrame) -> list[Encoded]:
        raw = self.reader(self.folder, rows)
        there = [one for one in raw if one is not None]
        encoded = iter(zip(features(self.encoder, there), units(self.encoder, there), strict=True))
        return [None if one is None else next(encoded) for one in raw]


def units(encoder: Encoder, raw: list) -> list[np.ndarray]:
    """As the encoder tells them; those of a trimmed sound on the clip's clock, which is that of its faces."""
    starts = [one.start if isinstance(one, Sound) else 0.0 for one in raw]
    return [
        units + np.float32(start) if start else units
        for units, start in zip(encoder.units(raw), starts, strict=True)
    ]


def pack(encoder: Encoder | None, reader: Reader, folder: Path, manifest: pd.DataFrame) -> Pack:
    """The features of a manifest's rows; all absent if there is no encoder."""
    if encoder is None:
        return absent(len(manifest))
    encoded = _by_shard(_Job(encoder, reader, folder), list(shards(manifest)))
    return packs.collect(
        [one and one[0] for one in encoded],
        [one and one[1] for one in encoded],
        encoder.blank,
        encoder=encoder.name,
        unit_names=encoder.unit_names,
        step_seconds=encoder.step_seconds,
        dtype=encoder.stored,
    )


def absent(rows: int) -> Pack:
    """The pack of a modality that nobody encodes."""
    blank = np.zeros((1, 0), np.float32)
    return packs.collect([None] * rows, [None] * rows, blank, encoder="none", unit_names=(), step_seconds=None)


def _by_shard(job: _Job, parts: list[pd.DataFrame]) -> list[Encoded]:
    """In worker processes; in this one where an accelerator does the work."""
    on_cpu = all(tensor.device == torch.device("cpu") for tensor in job.encoder.parameters())
    results = work.run(parts, job, label="encode") if on_cpu else [job(part) for part in parts]
    failures = [result.reason for result in results if isinstance(result, work.Failed)]
    if failures:
        raise Problem(f"encode: {job.encoder.name}: {failures[0]}; lower compute.workers if memory ran out")
    return [one for result in results for one in result]


def shards(manifest: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Whole dialogues, at least SHARD rows at a time."""
    first, names = 0, manifest["dialogue"].tolist()
    for row in range(len(names)):
        if row - first >= SHARD and names[row] != names[row - 1]:
            yield manifest.iloc[first:row]
            first = row
    if first < len(names):
        yield manifest.iloc[first:]

"""From a manifest to a pack: read, encode, measure the units, in shards that do not depend on the machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

from merc import joining, packs, work
from merc.device import device
from merc.encoders.card import Reader
from merc.encoders.encoder import Encoder, ahead, device_of, features
from merc.encoders.raw import Sound
from merc.packs import Pack
from merc.problem import Problem

SHARD = 128  # rows at least; whole dialogues


class _Shard(NamedTuple):
    """Rows of one manifest, and where their pack goes."""

    rows: pd.DataFrame
    file: Path


@dataclass(frozen=True)
class _Job:
    """Encodes shards of one manifest; handed to worker processes once."""

    encoder: Encoder
    reader: Reader
    folder: Path

    def __call__(self, shard: _Shard) -> None:
        """A shard that an earlier run finished is not encoded again."""
        if not shard.file.is_file():
            self.write(shard, self.reader(self.folder, shard.rows))

    def write(self, shard: _Shard, raw: list) -> None:
        """Aside, then renamed: what has its name is whole."""
        aside = shard.file.with_suffix(".aside")
        packs.write(aside, self._pack(raw), shard.rows)
        aside.replace(shard.file)

    def _pack(self, raw: list) -> Pack:
        there = [one for one in raw if one is not None]
        encoded = iter(zip(features(self.encoder, there), units(self.encoder, there), strict=True))
        pairs = [(None, None) if one is None else next(encoded) for one in raw]
        return packs.collect(
            [values for values, _ in pairs],
            [spans for _, spans in pairs],
            self.encoder.blank,
            encoder=self.encoder.name,
            unit_names=self.encoder.unit_names,
            step_seconds=self.encoder.step_seconds,
            dtype=self.encoder.stored,
        )


def units(encoder: Encoder, raw: list) -> list[np.ndarray]:
    """As the encoder tells them; those of a trimmed sound on the clip's clock, which is that of its faces."""
    starts = [one.start if isinstance(one, Sound) else 0.0 for one in raw]
    return [
        spans + np.float32(start) if start else spans
        for spans, start in zip(encoder.units(raw), starts, strict=True)
    ]


def place(encoder: Encoder) -> Encoder:
    """A network on compute.device; signal processing, which has no weights, on the CPU: a worker for each core."""
    return encoder.to(device()) if any(True for _ in encoder.parameters()) else encoder


def write(
    file: Path, encoder: Encoder | None, reader: Reader, folder: Path, rows: pd.DataFrame, home: Path
) -> None:
    """The pack of a manifest's rows, all absent if there is no encoder; `home` keeps the shards that are done."""
    if encoder is None or rows.empty:
        packs.write(file, absent(len(rows)) if encoder is None else _Job(encoder, reader, folder)._pack([]), rows)
        return
    home.mkdir(parents=True, exist_ok=True)
    parts = [_Shard(part, home / f"{number}.safetensors") for number, part in enumerate(shards(rows))]
    _encode(_Job(encoder, reader, folder), parts)
    joining.write(file, [joining.Part(one.file, one.rows) for one in parts], rows)


def absent(rows: int) -> Pack:
    """The pack of a modality that nobody encodes."""
    blank = np.zeros((1, 0), np.float32)
    return packs.collect([None] * rows, [None] * rows, blank, encoder="none", unit_names=(), step_seconds=None)


def pack(encoder: Encoder | None, reader: Reader, folder: Path, rows: pd.DataFrame) -> Pack:
    """As `write`, for who needs the pack at once."""
    with TemporaryDirectory() as place:
        write(Path(place) / "pack", encoder, reader, folder, rows, Path(place) / "shards")
        return packs.read(Path(place) / "pack", rows)


def _encode(job: _Job, parts: list[_Shard]) -> None:
    """In worker processes; in this one where an accelerator does the work, the next shard being read meanwhile."""
    if device_of(job.encoder).type == "cpu":
        failures = [one.reason for one in work.run(parts, job, label="encode") if isinstance(one, work.Failed)]
        if failures:
            raise Problem(f"encode: {job.encoder.name}: {failures[0]}; lower compute.workers if memory ran out")
        return
    waiting = [shard for shard in parts if not shard.file.is_file()]
    raw = ahead(lambda shard: job.reader(job.folder, shard.rows), waiting)
    for shard, one in zip(waiting, raw, strict=True):
        job.write(shard, one)


def shards(manifest: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Whole dialogues, at least SHARD rows at a time."""
    first, names = 0, manifest["dialogue"].tolist()
    for row in range(len(names)):
        if row - first >= SHARD and names[row] != names[row - 1]:
            yield manifest.iloc[first:row]
            first = row
    if first < len(names):
        yield manifest.iloc[first:]

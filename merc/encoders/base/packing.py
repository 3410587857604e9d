"""Encode the utterances of a manifest into a feature pack, in shards that are independent of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from merc.data.records import packs
from merc.data.records.encoder_inputs import AudioInput
from merc.data.records.packs import Pack
from merc.encoders.base.encoder import Encoder, device_of, extract_features, prefetch_map
from merc.encoders.base.registry import Reader
from merc.runtime import workers
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.runtime.shards import Shard

if TYPE_CHECKING:
    import pandas as pd

MIN_SHARD_ROWS = 128  # minimum number of rows; a shard holds whole dialogues


class _Shard(NamedTuple):
    """Rows of a manifest and the file of their pack."""

    rows: pd.DataFrame
    file: Path


@dataclass(frozen=True)
class _ShardEncoder:
    """Encodes shards of one manifest; sent to each worker process once."""

    encoder: Encoder
    reader: Reader
    folder: Path

    def __call__(self, shard: _Shard) -> None:
        """Read, encode and write a shard, unless an earlier run has written it."""
        if not shard.file.is_file():
            self.write(shard, self.reader(self.folder, shard.rows))

    def write(self, shard: _Shard, raw: list[Any]) -> None:
        """Write to a temporary file, then rename: a file of the final name is complete."""
        temporary = shard.file.with_suffix(".aside")
        packs.write_pack(temporary, self.pack(raw), shard.rows)
        temporary.replace(shard.file)

    def pack(self, raw: list[Any]) -> Pack:
        """Pack of the raw inputs; None marks an absent row."""
        present = [item for item in raw if item is not None]
        encoded = iter(
            zip(extract_features(self.encoder, present), units_on_clip_time(self.encoder, present), strict=True)
        )
        pairs = [(None, None) if item is None else next(encoded) for item in raw]
        return packs.build_pack(
            [values for values, _ in pairs],
            [spans for _, spans in pairs],
            self.encoder.blank,
            encoder=self.encoder.name,
            unit_names=self.encoder.unit_names,
            step_seconds=self.encoder.step_seconds,
            dtype=self.encoder.stored,
        )


def units_on_clip_time(encoder: Encoder, raw: list[Any]) -> list[np.ndarray]:
    """Units of the encoder; those of a trimmed sound are shifted to the clip's time axis, which its faces use."""
    starts = [item.start if isinstance(item, AudioInput) else 0.0 for item in raw]
    return [
        spans + np.float32(start) if start else spans
        for spans, start in zip(encoder.units(raw), starts, strict=True)
    ]


def to_compute_device(encoder: Encoder) -> Encoder:
    """Move a network to compute.device; signal processing, which has no weights, stays on the CPU workers."""
    return encoder.to(select_device()) if any(True for _ in encoder.parameters()) else encoder


def write_pack(
    file: Path, encoder: Encoder | None, reader: Reader, folder: Path, rows: pd.DataFrame, home: Path
) -> None:
    """Write the pack of a manifest's rows, all absent without an encoder; `home` holds the finished shards."""
    if encoder is None:
        packs.write_pack(file, absent_pack(len(rows)), rows)
        return
    if rows.empty:
        packs.write_pack(file, _ShardEncoder(encoder, reader, folder).pack([]), rows)
        return
    parts = encode_parts(encoder, reader, folder, rows, home)
    packs.join_packs(file, [packs.PackPart(shard.file, shard.rows) for shard in parts], rows)


def encode_parts(
    encoder: Encoder, reader: Reader, folder: Path, rows: pd.DataFrame, home: Path, shard: Shard | None = None
) -> list[_Shard]:
    """Write the packs of parts of the rows below `home`, of all or of one shard's, and return these parts."""
    home.mkdir(parents=True, exist_ok=True)
    parts = [_Shard(part, home / f"{number}.safetensors") for number, part in enumerate(split_into_shards(rows))]
    own = parts if shard is None else [*shard.of(parts)]
    _encode(_ShardEncoder(encoder, reader, folder), own)
    return own


def absent_pack(rows: int) -> Pack:
    """The pack of a modality without an encoder: every row is absent."""
    blank = np.zeros((1, 0), np.float32)
    return packs.build_pack([None] * rows, [None] * rows, blank, encoder="none", unit_names=(), step_seconds=None)


def encode_to_pack(encoder: Encoder | None, reader: Reader, folder: Path, rows: pd.DataFrame) -> Pack:
    """As `write`, but return the pack instead of keeping its file."""
    with TemporaryDirectory() as temporary:
        write_pack(Path(temporary) / "pack", encoder, reader, folder, rows, Path(temporary) / "shards")
        return packs.read_pack(Path(temporary) / "pack", rows)


def _encode(shard_encoder: _ShardEncoder, parts: list[_Shard]) -> None:
    """Encode in worker processes; on an accelerator in this process, reading the next shard in the background."""
    encoder = shard_encoder.encoder
    if device_of(encoder).type == "cpu":
        results = workers.run(parts, shard_encoder, label="encode")
        failures = [result.reason for result in results if isinstance(result, workers.JobFailure)]
        if failures:
            raise UserError(f"encode: {encoder.name}: {failures[0]}; lower compute.workers if memory ran out")
        return
    remaining = [shard for shard in parts if not shard.file.is_file()]
    inputs = prefetch_map(lambda shard: shard_encoder.reader(shard_encoder.folder, shard.rows), remaining)
    for shard, raw in zip(remaining, inputs, strict=True):
        shard_encoder.write(shard, raw)


def split_into_shards(manifest: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Split a manifest into shards of whole dialogues, of at least MIN_SHARD_ROWS rows except the last."""
    first, dialogues = 0, manifest["dialogue"].tolist()
    for row in range(len(dialogues)):
        if row - first >= MIN_SHARD_ROWS and dialogues[row] != dialogues[row - 1]:
            yield manifest.iloc[first:row]
            first = row
    if first < len(dialogues):
        yield manifest.iloc[first:]

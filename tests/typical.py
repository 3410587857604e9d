"""What `distill` learns of typical features, from drawn ones: standard normal steps."""

from pathlib import Path

import numpy as np
import torch

from merc.data.batches.streams import FeatureStream
from merc.training.core import typicality
from merc.training.core.typicality import StreamTypicality

WIDEST = 512  # features a step: wider ones take seconds


def drawn(rows: int, dim: int, seed: int, *, shift: float = 0.0) -> FeatureStream:
    """Utterances of 3 to 8 steps."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 9, rows)
    values = generator.normal(size=(int(lengths.sum()), dim)).astype(np.float32) + np.float32(shift)
    return FeatureStream.of(*map(torch.from_numpy, (values, lengths.cumsum() - lengths, lengths)))


def fitted(dim: int, *, dev: int = 12, shift: float = 0.0) -> StreamTypicality:
    """Of a stream; with fewer than 19 utterances of dev nothing is left out."""
    made = StreamTypicality.fit(drawn(40, dim, 1, shift=shift), drawn(dev, dim, 2, shift=shift))
    assert made is not None
    return made


def write(folder: Path, streams: dict[str, int], *, dev: int = 12, shift: float = 0.0) -> None:
    """The file of `distill` or `export`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: fitted(dim, dev=dev, shift=shift) for name, dim in streams.items() if dim <= WIDEST}
    typicality.save(folder / typicality.FILE, known)

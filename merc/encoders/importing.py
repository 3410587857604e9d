"""Packs of features that others computed: float32, a NaN where there is no number, no units."""

from pathlib import Path

import numpy as np
import pandas as pd

from merc import encoders, packs
from merc.encoders.finding import find
from merc.encoders.matching import Join, Joined
from merc.packs import Pack


def join(corpus: str, modality: str, name: str, manifests: dict[str, pd.DataFrame]) -> Join:
    """Which features are whose."""
    return Join(find(corpus, modality, name.removeprefix(encoders.IMPORTED)), manifests)


def write(files: dict[str, Path], name: str, join: Join, manifests: dict[str, pd.DataFrame]) -> None:
    """Write the pack of every split; what stands for nothing is the mean of train."""
    blank = mean(join.splits["train"].arrays, join.found.width)
    for split, joined in join.splits.items():
        packs.write(files[split], _pack(name, joined, blank), manifests[split])


def mean(arrays: list[np.ndarray | None], width: int) -> np.ndarray:
    """(1, width): what stands for nothing; 0 where train never has a number."""
    values = np.concatenate([np.zeros((0, width), np.float32), *(one for one in arrays if one is not None)])
    known = np.isfinite(values)
    total = np.sum(values, axis=0, dtype=np.float64, where=known)
    return (total / np.maximum(known.sum(0), 1)).astype(np.float32)[None]


def _pack(name: str, joined: Joined, blank: np.ndarray) -> Pack:
    units = [None if one is None else np.zeros((len(one), 0), np.float32) for one in joined.arrays]
    about = {"encoder": name, "unit_names": (), "step_seconds": None}
    return packs.collect(joined.arrays, units, blank, **about, dtype=np.float32)

"""Feature packs of precomputed features: float32, NaN for missing numbers, no units."""

from pathlib import Path

import numpy as np
import pandas as pd

from merc.data.records import packs
from merc.data.records.packs import Pack
from merc.encoders.base import factory
from merc.encoders.imported.file_search import find_features
from merc.encoders.imported.matching import FeatureMatching, MatchedSplit


def match_features(corpus: str, modality: str, name: str, manifests: dict[str, pd.DataFrame]) -> FeatureMatching:
    """Match the features that `name` means with the utterances of a corpus."""
    return FeatureMatching(find_features(corpus, modality, name.removeprefix(factory.IMPORTED_PREFIX)), manifests)


def write_packs(
    files: dict[str, Path], name: str, join: FeatureMatching, manifests: dict[str, pd.DataFrame]
) -> None:
    """Write the pack of every split; its blank features are the mean of train."""
    blank = feature_mean(join.splits["train"].arrays, join.files.width)
    for split, joined in join.splits.items():
        packs.write_pack(files[split], _pack(name, joined, blank), manifests[split])


def feature_mean(arrays: list[np.ndarray | None], width: int) -> np.ndarray:
    """Mean (1, width) over all finite values; 0 in columns without any."""
    values = np.concatenate([np.zeros((0, width), np.float32), *(array for array in arrays if array is not None)])
    is_finite = np.isfinite(values)
    total = np.sum(values, axis=0, dtype=np.float64, where=is_finite)
    return (total / np.maximum(is_finite.sum(0), 1)).astype(np.float32)[None]


def _pack(name: str, joined: MatchedSplit, blank: np.ndarray) -> Pack:
    units = [None if array is None else np.zeros((len(array), 0), np.float32) for array in joined.arrays]
    return packs.build_pack(
        joined.arrays, units, blank, encoder=name, unit_names=(), step_seconds=None, dtype=np.float32
    )

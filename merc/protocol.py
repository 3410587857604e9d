"""Refusals: what would make a test score mean nothing is named, and the evaluation stops."""

import hashlib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from merc import manifest as manifests
from merc.batches import Split
from merc.problem import Problem

ENOUGH = 100  # labelled utterances from which on a dimension cannot sort them all by chance


def separate(splits: Mapping[str, pd.DataFrame]) -> None:
    """No group in two splits, and no recording (same text, same wav) in two splits."""
    for one, other in combinations(splits, 2):
        both = sorted(set(splits[one]["group"]) & set(splits[other]["group"]))
        if both:
            raise Problem(f"group {both[0]!r} is in both {one} and {other} ({len(both)} in all); split by group")
        _no_twin(one, splits[one], other, splits[other])


def _no_twin(one: str, rows: pd.DataFrame, other: str, rows_there: pd.DataFrame) -> None:
    """Only wavs whose texts and sizes are equal are read, each once: actors say one sentence a thousand times."""
    pairs = _recordings(one, rows).merge(
        _recordings(other, rows_there), on=["text", "size"], suffixes=("", "_there")
    )
    digests = {path: _digest(Path(path)) for path in {*pairs["file"], *pairs["file_there"]}}
    for here, there in zip(pairs["file"], pairs["file_there"], strict=True):
        if digests[here] == digests[there]:
            raise Problem(f"{here} and {there}: the same recording in two splits; remove one from data/raw")


def _recordings(split: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Text, size and path of every wav that exists."""
    heard = rows[rows["wav"].notna()]
    files = [manifests.folder(split, c) / wav for c, wav in zip(heard["corpus"], heard["wav"], strict=True)]
    sizes = [file.stat().st_size if file.is_file() else -1 for file in files]
    table = pd.DataFrame({"text": heard["text"].fillna("").to_list(), "size": sizes, "file": list(map(str, files))})
    return table[table["size"] >= 0]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_order(folder: Path, trained: Mapping[str, tuple[str, ...]], orders: Mapping[str, tuple[str, ...]]) -> None:
    """A head's outputs mean what data.labels says."""
    for task, order in trained.items():
        if tuple(order) != tuple(orders[task]):
            own = ", ".join(order)
            raise Problem(f"{folder}: its {task} labels are {own}, not data.labels'; run `dvc repro train`")


def no_telling_dimensions(split: Split) -> None:
    """No single dimension of an utterance's mean features sorts the labels apart: that is a label in disguise."""
    for name, stream in split.features.items():
        there = (stream.lengths > 0).numpy()
        means = _means(stream.values.numpy(), stream.starts.numpy()[there], stream.lengths.numpy()[there])
        for task, targets in split.targets.items():
            _refuse_telling(name, task, means, targets.numpy()[there])


def _means(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(n, D) means over each utterance's steps, which follow one another."""
    if not len(starts):
        return np.zeros((0, values.shape[1]), np.float32)
    return np.add.reduceat(np.nan_to_num(values), starts, axis=0) / lengths[:, None]


def _refuse_telling(stream: str, task: str, means: np.ndarray, actual: np.ndarray) -> None:
    means, actual = means[actual >= 0], actual[actual >= 0]
    classes = len(np.unique(actual))
    if len(actual) < ENOUGH or classes < 2:
        return
    order = np.argsort(means, axis=0, kind="stable")  # (n, D)
    values, labels = np.take_along_axis(means, order, 0), actual[order]
    changes = labels[1:] != labels[:-1]
    tied = changes & (values[1:] == values[:-1])
    telling = np.flatnonzero((changes.sum(0) == classes - 1) & ~tied.any(0))
    if len(telling):
        raise Problem(f"{stream}: dimension {telling[0]} alone determines the {task}; it must not be a feature")

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

SAID = ["corpus", "speaker", "text", "source", "start", "end"]  # what makes an utterance of a dialogue that one
ENOUGH = 100  # labelled utterances from which on a dimension cannot sort them all by chance


def separate(splits: Mapping[str, pd.DataFrame]) -> None:
    """No group, no dialogue, no stretch of a clip and no recording (same text, same wav) in two splits.

    A group whose name holds its split (sample, MELD, folder: <corpus>/<split>/<dialogue>) is never in two, and the
    dialogue's number tells nothing, for MELD counts anew in each split: so dialogues are compared by what is said.
    """
    for one, other in combinations(splits, 2):
        here, there = splits[one], splits[other]
        both = sorted(set(here["group"]) & set(there["group"]))
        if both:
            raise Problem(f"group {both[0]!r} is in both {one} and {other} ({len(both)} in all); split by group")
        _no_dialogue_twice(one, here, other, there)
        _no_clip_twice(one, here, other, there)
        _no_twin(one, here, other, there)


def _no_dialogue_twice(one: str, here: pd.DataFrame, other: str, there: pd.DataFrame) -> None:
    """No dialogue all of whose utterances stand in one dialogue of the other split: speakers, words and times.

    Single utterances may: MELD's annotators cut some scenes twice, and merc/overlap.py reports those.
    """
    ours, theirs = _timed(here), _timed(there)
    shared = ours.merge(theirs, on=SAID, suffixes=("", "_there"))
    counts = shared.groupby(["group", "group_there"], sort=False).size()
    for (group, group_there), count in counts.items():
        if count == min((ours["group"] == group).sum(), (theirs["group"] == group_there).sum()):
            raise Problem(
                f"dialogue {group!r} of {one} and {group_there!r} of {other} are one: the same speakers, words and "
                "times; remove one from data/raw"
            )


def _timed(rows: pd.DataFrame) -> pd.DataFrame:
    """Group and identity of the utterances whose times are known, each once; of a group with others nothing."""
    untimed = rows.loc[rows["start"].isna() | rows["end"].isna(), "group"]
    return rows.loc[~rows["group"].isin(untimed), ["group", *SAID]].drop_duplicates()


def _no_clip_twice(one: str, here: pd.DataFrame, other: str, there: pd.DataFrame) -> None:
    """No clip, or stretch of a clip, in two splits."""
    stretch = ["corpus", "clip", "start", "end"]
    both = here.loc[here["clip"].notna(), stretch].merge(there.loc[there["clip"].notna(), stretch])
    if len(both):
        corpus, clip = both.loc[0, ["corpus", "clip"]]
        raise Problem(f"{corpus}: {clip} is in both {one} and {other} ({len(both)} in all); keep it in one split")


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

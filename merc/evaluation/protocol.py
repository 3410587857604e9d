"""Checks that stop the evaluation: overlapping splits, features that contain the label, wrong label orders."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from merc.data.batches.dataset import Split
from merc.data.batches.streams import FeatureStream
from merc.data.records import manifest as manifests
from merc.data.records import media_files
from merc.data.records.labels import is_labelled
from merc.runtime.errors import UserError

# columns that identify an utterance of a dialogue
UTTERANCE_COLUMNS = ["corpus", "speaker", "text", "source", "start", "end"]
SEGMENT_COLUMNS = ["corpus", "clip", "start", "end"]
BLOCK = 1000  # utterances whose steps are looked at at once
MIN_LABELLED = 100  # labelled utterances above which no dimension separates the labels by chance


def check_splits(splits: Mapping[str, pd.DataFrame]) -> None:
    """Raise if a group, dialogue, clip segment or recording (same text, same wav) is in two splits.

    Where the group's name contains its split (sample, MELD, folder: <corpus>/<split>/<dialogue>), no group is in
    two splits, and dialogue numbers cannot be compared, because MELD numbers each split anew: dialogues are
    therefore compared by their utterances.
    """
    for first, second in combinations(splits, 2):
        rows, other_rows = splits[first], splits[second]
        both = sorted(set(rows["group"]) & set(other_rows["group"]))
        if both:
            raise UserError(
                f"group {both[0]!r} is in both {first} and {second} ({len(both)} in all); split by group"
            )
        _check_dialogues(first, rows, second, other_rows)
        _check_clips(first, rows, second, other_rows)
        _check_recordings(first, rows, second, other_rows)


def _check_dialogues(first: str, rows: pd.DataFrame, second: str, other_rows: pd.DataFrame) -> None:
    """Raise if all utterances of a dialogue are in one dialogue of the other split: speakers, words and times.

    Single utterances may be: MELD's annotators cut some scenes twice, and merc/evaluation/slices.py reports those.
    """
    timed, other_timed = _timed(rows), _timed(other_rows)
    shared = timed.merge(other_timed, on=UTTERANCE_COLUMNS, suffixes=("", "_other"))
    counts = shared.groupby(["group", "group_other"], sort=False).size()
    pairs = cast("Iterable[tuple[tuple[str, str], int]]", counts.items())
    sizes, other_sizes = (each["group"].value_counts() for each in (timed, other_timed))
    for (group, group_other), count in pairs:
        if count == min(sizes[group], other_sizes[group_other]):
            raise UserError(
                f"dialogue {group!r} of {first} and {group_other!r} of {second} are one: the same speakers, words "
                "and times; remove one from data/raw"
            )


def _timed(rows: pd.DataFrame) -> pd.DataFrame:
    """The distinct utterances of the groups in which every utterance has start and end."""
    untimed = rows.loc[rows["start"].isna() | rows["end"].isna(), "group"]
    return rows.loc[~rows["group"].isin(untimed), ["group", *UTTERANCE_COLUMNS]].drop_duplicates()


def _check_clips(first: str, rows: pd.DataFrame, second: str, other_rows: pd.DataFrame) -> None:
    """Raise if a clip, a segment of a clip, or a whole clip and a segment of it are in both splits.

    Segments that overlap may be, as MELD's own are: the slice "clean test" (merc/evaluation/slices.py) lacks them.
    """
    own, other = (each.loc[each["clip"].notna(), SEGMENT_COLUMNS] for each in (rows, other_rows))
    both = pd.concat([own.merge(other), _whole(own).merge(_clips(other)), _clips(own).merge(_whole(other))])
    both = both.drop_duplicates()
    if len(both):
        corpus, clip = both[["corpus", "clip"]].iloc[0]
        raise UserError(
            f"{corpus}: {clip} is in both {first} and {second} ({len(both)} in all); keep it in one split"
        )


def _clips(segments: pd.DataFrame) -> pd.DataFrame:
    """The distinct clips."""
    return cast("pd.DataFrame", segments[["corpus", "clip"]]).drop_duplicates()


def _whole(segments: pd.DataFrame) -> pd.DataFrame:
    """The segments that are whole clips: without start or end."""
    return segments.loc[segments["start"].isna() | segments["end"].isna()]


def _check_recordings(first: str, rows: pd.DataFrame, second: str, other_rows: pd.DataFrame) -> None:
    """Raise if a recording is in both splits.

    Only wavs of equal text and size are read, each once: actors may say one sentence a thousand times.
    """
    keys = ["text", "size"]  # only files that agree in both are hashed
    own, other = _recordings(first, rows), _recordings(second, other_rows)
    own, other = (a.merge(b[keys].drop_duplicates(), on=keys) for a, b in ((own, other), (other, own)))
    own, other = (each.assign(digest=[_digest(file) for file in each["file"]]) for each in (own, other))
    same = own.merge(other.drop_duplicates([*keys, "digest"]), on=[*keys, "digest"], suffixes=("", "_other"))
    if len(same):
        path, other_path = same.loc[0, ["file", "file_other"]]
        raise UserError(f"{path} and {other_path}: the same recording in two splits; remove one from data/raw")


def _recordings(split: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Text, size and path of every wav that exists."""
    with_wav = cast("pd.DataFrame", rows[rows["wav"].notna()])
    files = [
        str(manifests.split_folder(split, c) / wav)
        for c, wav in zip(with_wav["corpus"], with_wav["wav"], strict=True)
    ]
    sizes = [-1 if (size := media_files.media_size(Path(), file)) is None else size for file in files]
    table = pd.DataFrame({"text": with_wav["text"].fillna("").to_list(), "size": sizes, "file": files})
    table = table.astype({"text": str, "size": int, "file": str})  # also where there are no rows to tell them from
    return cast("pd.DataFrame", table[table["size"] >= 0])


def _digest(file: str) -> str:
    return hashlib.sha256(media_files.read_media(Path(), file)).hexdigest()


def check_label_orders(
    folder: Path, trained: Mapping[str, tuple[str, ...]], orders: Mapping[str, tuple[str, ...]]
) -> None:
    """Raise unless a network's label orders are those of data.labels."""
    for task, order in trained.items():
        if tuple(order) != tuple(orders[task]):
            names = ", ".join(order)
            raise UserError(f"{folder}: its {task} labels are {names}, not data.labels'; run `dvc repro train`")


def check_features(split: Split) -> None:
    """Raise if a single dimension of the utterances' mean features separates all labels, so contains the label."""
    for name, stream in split.features.items():
        is_present = (stream.lengths > 0).numpy()
        means = _means(stream, np.flatnonzero(is_present))
        for task, targets in split.targets.items():
            if split.tasks[task].kind != "multilabel":  # several answers at once are determined by no single number
                _check_dimensions(name, task, means, targets.numpy()[is_present])


def _means(stream: FeatureStream, present: np.ndarray) -> np.ndarray:
    """(n, D) means over each utterance's steps."""
    means = np.zeros((len(present), stream.dim), np.float32)
    for first in range(0, len(present), BLOCK):
        rows = torch.from_numpy(present[first : first + BLOCK])
        lengths = stream.lengths[rows].numpy()
        steps = np.nan_to_num(stream.steps_of(rows).numpy())
        means[first : first + BLOCK] = np.add.reduceat(steps, lengths.cumsum() - lengths, axis=0) / lengths[:, None]
    return means


def _check_dimensions(stream: str, task: str, means: np.ndarray, actual: np.ndarray) -> None:
    """Raise if sorting the utterances by a dimension groups them by label, or sorts them by number."""
    labelled = is_labelled(actual)
    means, actual = means[labelled], actual[labelled]
    classes = len(np.unique(actual))
    if len(actual) < MIN_LABELLED or classes < 2:
        return
    for dimension, column in enumerate(means.T):
        order = np.argsort(column, kind="stable")
        values, labels = column[order], actual[order]
        changes = labels[1:] != labels[:-1]
        is_sorted = changes.sum() == classes - 1
        if actual.dtype.kind == "f":
            rises = np.diff(labels)
            is_sorted = (rises >= 0).all() or (rises <= 0).all()
        if is_sorted and not (changes & (values[1:] == values[:-1])).any():
            raise UserError(
                f"{stream}: dimension {dimension} alone determines the {task}; it must not be a feature"
            )

"""Matching of imported features with a corpus's utterances: the row of each key, and the unmatched rest."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from merc.data.records.manifest import SPLITS
from merc.encoders.imported.file_search import FeatureFiles
from merc.encoders.imported.formats.keys import TWIN_PREFIX, canonical
from merc.runtime.errors import UserError

NUMBERED_NAME = re.compile(r"dia(\d+)(?:_utt(\d+))?")


@dataclass
class MatchedSplit:
    """The features of one split's rows."""

    arrays: list[np.ndarray | None] = field(default_factory=list)  # (steps, width) float32, NaN: missing number
    missing: dict[str, str] = field(default_factory=dict)  # utterance -> reason
    nan: int = 0
    infinite: int = 0


@dataclass(frozen=True)
class _RowKeys:
    """The keys that may name a row; `first` is the number of the split's dialogue 0 in the file."""

    row: Any  # of a manifest
    count: int  # number of utterances of its dialogue
    last: int  # highest utterance number of its dialogue
    first: int

    @property
    def utterances(self) -> list[str]:
        """Keys of the utterance, one for each cut of its MELD clip; that of the row's cut comes first."""
        plain = self._shifted(canonical(self.row.utterance))
        twins = [plain, TWIN_PREFIX + plain]
        return twins[::-1] if TWIN_PREFIX in str(self.row.clip or "") else twins

    @property
    def dialogue(self) -> str:
        """Key of the dialogue."""
        return self._shifted(canonical(self.row.dialogue))

    @property
    def number(self) -> int:
        """Number of the utterance, -1 if it has none."""
        return _number(self.row.utterance)

    def _shifted(self, name: str) -> str:
        """The name with the dialogue number of the file."""
        match = NUMBERED_NAME.fullmatch(name)
        return name.replace(f"dia{match[1]}", f"dia{int(match[1]) + self.first}", 1) if match else name


class FeatureMatching:
    """Features matched with the rows of all splits; a key that matches rows of two splits is refused."""

    def __init__(self, files: FeatureFiles, manifests: dict[str, pd.DataFrame]) -> None:
        self.files = files
        self.first = _first_dialogues(files, manifests)
        self.used: dict[tuple[str | None, str], str] = {}  # (split in the file, key) -> split of the row
        self.mismatched: set[tuple[str | None, str]] = set()  # keys of dialogues with a wrong number of vectors
        self.splits = {split: self._match(split, rows) for split, rows in manifests.items()}
        if any(map(len, manifests.values())) and not self.used and not self.mismatched:
            self._raise_no_match(manifests)

    @property
    def unused(self) -> Iterator[tuple[str | None, str]]:
        """Split and key of the entries that match no row."""
        for split, entries in self.files.entries.items():
            for key in entries:
                if (split, key) not in self.used and (split, key) not in self.mismatched:
                    yield split, key

    def twins(self) -> dict[str, list[str]]:
        """Unused keys of MELD's second cuts whose utterance is matched by its other key; by split."""
        return _by_split((split, key) for split, key in self.unused if self._is_twin(split, key))

    def unknown(self) -> dict[str, list[str]]:
        """Keys that name no utterance; by split."""
        return _by_split((split, key) for split, key in self.unused if not self._is_twin(split, key))

    def _is_twin(self, split: str | None, key: str) -> bool:
        other = key[len(TWIN_PREFIX) :] if key.startswith(TWIN_PREFIX) else TWIN_PREFIX + key
        return (split, other) in self.used

    def _match(self, split: str, rows: pd.DataFrame) -> MatchedSplit:
        joined, sizes = MatchedSplit(), rows.groupby("dialogue")["utterance"]
        counts = cast("Mapping[str, int]", sizes.size())
        last = cast("Mapping[str, int]", sizes.agg(lambda names: max(map(_number, names))))
        for row in cast("Iterable[Any]", rows.itertuples()):
            counts_of_row = int(counts[row.dialogue]), int(last[row.dialogue])
            joined.arrays.append(self._look_up(split, row, *counts_of_row, joined))
        return joined

    def _look_up(self, split: str, row: Any, count: int, last: int, joined: MatchedSplit) -> np.ndarray | None:
        """Features of a row: of its split in the file, else of no named split; None if they are missing."""
        reason = f"no key {canonical(row.utterance)} for {split}"
        for source in (split, None):
            row_keys = _RowKeys(row, count, last, first=self.first.get(split, 0) if source is None else 0)
            entries = self.files.entries.get(source, {})
            for key, array in _candidates(row_keys, entries):
                if isinstance(array, str):
                    reason = array
                    self.mismatched.add((source, key))
                    continue
                self._mark_used(source, key, split)
                return _clean(array, row.utterance, joined)
        joined.missing[row.utterance] = reason
        return None

    def _mark_used(self, source: str | None, key: str, split: str) -> None:
        if self.used.setdefault((source, key), split) != split:
            raise UserError(
                f"{', '.join(self.files.paths)}: {key} is an utterance of {self.used[source, key]} and of {split}; "
                "say which split it is of: a file a split (name_train.csv), or a level of keys (train, dev, test)"
            )

    def _raise_no_match(self, manifests: dict[str, pd.DataFrame]) -> None:
        key = next(key for entries in self.files.entries.values() for key in entries)
        name = next(rows["utterance"].iloc[0] for rows in manifests.values() if len(rows))
        raise UserError(
            f"{', '.join(self.files.paths)}: no key names an utterance; a key is {key!r}, an utterance {name!r}"
        )


def _candidates(row_keys: _RowKeys, entries: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray | str]]:
    """Keys and features that may be the row's, by preference; a string is the reason why a key does not fit."""
    for key in row_keys.utterances:
        if key in entries:
            yield key, entries[key]
    dialogue = row_keys.dialogue
    vectors = entries.get(dialogue)  # of all utterances in one array, else one array under each <dialogue>/<number>
    count = len(vectors) if vectors is not None else _count_numbered(dialogue, entries)
    if count:
        index = _index(row_keys, count, vectors)
        key = dialogue if vectors is not None else f"{dialogue}/{index or 0}"
        if index is None:
            yield key, f"{dialogue} has {count} vectors for {row_keys.count} utterances"
        else:
            yield key, vectors[index : index + 1] if vectors is not None else entries[key]


def _count_numbered(dialogue: str, entries: dict[str, np.ndarray]) -> int:
    """Number of the consecutive keys <dialogue>/0, <dialogue>/1, ..."""
    return next(number for number in range(len(entries) + 1) if f"{dialogue}/{number}" not in entries)


def _index(row_keys: _RowKeys, count: int, vectors: np.ndarray | None) -> int | None:
    """Index of the row in its dialogue's vectors: by turn, also with zero padding, or by utterance number."""
    is_padded = vectors is not None and count > row_keys.count and not vectors[row_keys.count :].any()
    if count == row_keys.count or is_padded:
        return int(row_keys.row.turn)
    return row_keys.number if count == row_keys.last + 1 and row_keys.number >= 0 else None


def _clean(array: np.ndarray, name: str, joined: MatchedSplit) -> np.ndarray | None:
    """Replace infinite values by NaN and count both; None, and missing, without any number."""
    if not array.size:
        joined.missing[name] = "empty in the file"
        return None
    is_infinite = np.isinf(array)
    joined.infinite += int(is_infinite.sum())
    joined.nan += int(np.isnan(array).sum())
    array = np.where(is_infinite, np.float32(np.nan), array)
    if np.isnan(array).all():
        joined.missing[name] = "no number in its features"
        return None
    return array


def _number(name: str) -> int:
    """Number of an utterance in its dialogue, -1 if the name has none."""
    match = NUMBERED_NAME.fullmatch(canonical(name))
    return int(match[2]) if match and match[2] else -1


def _first_dialogues(files: FeatureFiles, manifests: dict[str, pd.DataFrame]) -> dict[str, int]:
    """First dialogue number of each split, if a file without splits numbers dialogues through all of them; else {}.

    MELD_features_raw.pkl, in common use, does so: train 0-1038, dev 1039-1152, test 1153-1432.
    """
    matches = [NUMBERED_NAME.match(key) for key in files.entries.get(None, {})]
    highest = {split: _highest_dialogue(rows) for split, rows in manifests.items()}
    highest_in_file = max((int(match[1]) for match in matches if match), default=-1)
    if highest_in_file <= max(highest.values()) or highest_in_file >= sum(last + 1 for last in highest.values()):
        return {}
    first, offset = {}, 0
    for split in SPLITS:
        first[split], offset = offset, offset + highest[split] + 1
    return first


def _highest_dialogue(rows: pd.DataFrame) -> int:
    matches = [NUMBERED_NAME.fullmatch(canonical(name)) for name in rows["dialogue"].unique()]
    return max((int(match[1]) for match in matches if match), default=-1)


def _by_split(keys: Iterator[tuple[str | None, str]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for split, key in keys:
        names.setdefault(split or "of no split", []).append(key)
    return {split: sorted(split_names) for split, split_names in names.items()}

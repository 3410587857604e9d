"""Imported features beside a corpus's utterances: which key is which row, and what is left over."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from merc.encoders.finding import Found
from merc.encoders.formats.keys import TWIN, canonical
from merc.manifest import SPLITS
from merc.problem import Problem

NUMBERED = re.compile(r"dia(\d+)(?:_utt(\d+))?")


@dataclass
class Joined:
    """The features of one split's rows."""

    arrays: list[np.ndarray | None] = field(default_factory=list)  # (steps, width) float32, NaN where no number is
    missing: dict[str, str] = field(default_factory=dict)  # utterance -> reason
    nan: int = 0
    infinite: int = 0


@dataclass(frozen=True)
class _Place:
    """A row as keys may name it; `first` is the number of the split's dialogue 0 in the file."""

    row: Any
    count: int  # utterances of its dialogue
    last: int  # the highest number among them
    first: int

    @property
    def utterances(self) -> list[str]:
        """Keys of the utterance, MELD's twin of a clip first if the clip is that one."""
        plain = self._shifted(canonical(self.row.utterance))
        twins = [plain, TWIN + plain]
        return twins[::-1] if TWIN in str(self.row.clip or "") else twins

    @property
    def dialogue(self) -> str:
        return self._shifted(canonical(self.row.dialogue))

    @property
    def number(self) -> int:
        return _number(self.row.utterance)

    def _shifted(self, name: str) -> str:
        match = NUMBERED.fullmatch(name)
        return name.replace(f"dia{match[1]}", f"dia{int(match[1]) + self.first}", 1) if match else name


class Join:
    """Every key is used by one split at most: the same key in two splits would be one utterance's for another."""

    def __init__(self, found: Found, manifests: dict[str, pd.DataFrame]) -> None:
        self.found = found
        self.first = _numbered_through(found, manifests)
        self.used: dict[tuple[str | None, str], str] = {}
        self.unfit: set[tuple[str | None, str]] = set()  # of a known dialogue, with another number of vectors
        self.splits = {split: self._split(split, rows) for split, rows in manifests.items()}
        if any(map(len, manifests.values())) and not self.used and not self.unfit:
            self._refuse(manifests)

    @property
    def left(self) -> Iterator[tuple[str | None, str]]:
        """Split and key of what no row used."""
        for split, entries in self.found.entries.items():
            yield from (
                (split, key) for key in entries if (split, key) not in self.used and (split, key) not in self.unfit
            )

    def twins(self) -> dict[str, list[str]]:
        """Unused keys of MELD's second cuts, where another key stands for the utterance; by split."""
        return _by_split((split, key) for split, key in self.left if self._is_twin(split, key))

    def unknown(self) -> dict[str, list[str]]:
        """Keys that name no utterance; by split."""
        return _by_split((split, key) for split, key in self.left if not self._is_twin(split, key))

    def _is_twin(self, split: str | None, key: str) -> bool:
        other = key[len(TWIN) :] if key.startswith(TWIN) else TWIN + key
        return (split, other) in self.used

    def _split(self, split: str, rows: pd.DataFrame) -> Joined:
        joined, sizes = Joined(), rows.groupby("dialogue")["utterance"]
        counts, last = sizes.size(), sizes.agg(lambda names: max(map(_number, names)))
        for row in rows.itertuples():
            own = (row, int(counts[row.dialogue]), int(last[row.dialogue]))
            array = self._look_up(split, own, joined)
            joined.arrays.append(array)
        return joined

    def _look_up(self, split: str, own: tuple[Any, int, int], joined: Joined) -> np.ndarray | None:
        reason = f"no key {canonical(own[0].utterance)} for {split}"
        for source in (split, None):
            place = _Place(*own, first=self.first.get(split, 0) if source is None else 0)
            entries = self.found.entries.get(source, {})
            for key, array in _candidates(place, entries):
                if isinstance(array, str):
                    reason = array
                    self.unfit.add((source, key))
                    continue
                self._use(source, key, split)
                return _clean(array, own[0].utterance, joined)
        joined.missing[own[0].utterance] = reason
        return None

    def _use(self, source: str | None, key: str, split: str) -> None:
        if self.used.setdefault((source, key), split) != split:
            raise Problem(
                f"{', '.join(self.found.files)}: {key} is an utterance of {self.used[source, key]} and of {split}; "
                "say which split it is of: a file a split (name_train.csv), or a level of keys (train, dev, test)"
            )

    def _refuse(self, manifests: dict[str, pd.DataFrame]) -> None:
        key = next(key for entries in self.found.entries.values() for key in entries)
        name = next(rows["utterance"].iloc[0] for rows in manifests.values() if len(rows))
        raise Problem(
            f"{', '.join(self.found.files)}: no key names an utterance; a key is {key!r}, an utterance {name!r}"
        )


def _candidates(place: _Place, entries: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray | str]]:
    """Keys under which the row's features may lie, the surest first; a text says why one does not fit."""
    for key in place.utterances:
        if key in entries:
            yield key, entries[key]
    key = place.dialogue
    whole = key in entries
    count = len(entries[key]) if whole else next(n for n in range(len(entries) + 1) if f"{key}/{n}" not in entries)
    if count:
        index = _index(place, count, entries[key] if whole else None)
        own = key if whole else f"{key}/{index or 0}"
        if index is None:
            yield own, f"{key} has {count} vectors for {place.count} utterances"
        else:
            yield own, entries[key][index : index + 1] if whole else entries[own]


def _index(place: _Place, count: int, vectors: np.ndarray | None) -> int | None:
    """Where a dialogue's vectors have the row: by turn, zeros after the last one, or by utterance number."""
    padded = vectors is not None and count > place.count and not vectors[place.count :].any()
    if count == place.count or padded:
        return int(place.row.turn)
    return place.number if count == place.last + 1 and place.number >= 0 else None


def _clean(array: np.ndarray, name: str, joined: Joined) -> np.ndarray | None:
    """Infinite is NaN, both counted; what has no number at all is missing."""
    if not array.size:
        joined.missing[name] = "empty in the file"
        return None
    infinite = np.isinf(array)
    joined.infinite += int(infinite.sum())
    joined.nan += int(np.isnan(array).sum())
    array = np.where(infinite, np.float32(np.nan), array)
    if np.isnan(array).all():
        joined.missing[name] = "no number in its features"
        return None
    return array


def _number(name: str) -> int:
    match = NUMBERED.fullmatch(canonical(name))
    return int(match[2]) if match and match[2] else -1


def _numbered_through(found: Found, manifests: dict[str, pd.DataFrame]) -> dict[str, int]:
    """The first dialogue number of each split where a file without splits counts dialogues through all of them.

    So do the field's MELD_features_raw.pkl: train 0-1038, dev 1039-1152, test 1153-1432.
    """
    named = [NUMBERED.match(key) for key in found.entries.get(None, {})]
    highest = {split: _highest(rows) for split, rows in manifests.items()}
    known = max((int(match[1]) for match in named if match), default=-1)
    if known <= max(highest.values()) or known >= sum(one + 1 for one in highest.values()):
        return {}
    first, before = {}, 0
    for split in SPLITS:
        first[split], before = before, before + highest[split] + 1
    return first


def _highest(rows: pd.DataFrame) -> int:
    found = [NUMBERED.fullmatch(canonical(name)) for name in rows["dialogue"].unique()]
    return max((int(match[1]) for match in found if match), default=-1)


def _by_split(keys: Iterator[tuple[str | None, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for split, key in keys:
        found.setdefault(split or "of no split", []).append(key)
    return {split: sorted(names) for split, names in found.items()}

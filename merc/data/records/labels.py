"""Label spaces: the tasks that a network learns, and what each corpus's own labels mean in them.

A space is a YAML file: built in (label_spaces/) or the user's own, data/labels/<name>.yaml (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from merc.data.records.label_file import ANY_WORD, TaskSection, read_tasks
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

UNLABELLED = -100  # torch's cross-entropy ignores this target
BUILT_IN_FOLDER = Path(__file__).parent / "label_spaces"
OWN_FOLDER = Path("data/labels")
BUILT_IN = tuple(sorted(path.stem for path in BUILT_IN_FOLDER.glob("*.yaml")))
EVERY_CORPUS = "all"
# The corpora's own words, in the order of their papers, which their readers accept.
MELD_EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
MELD_SENTIMENTS = ("negative", "neutral", "positive")
IEMOCAP_EMOTIONS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
Kind = Literal["classification", "multilabel", "regression"]


@dataclass(frozen=True)
class Task:
    """What one head learns: one class of several, any number of classes at once, or a number."""

    name: str
    kind: Kind
    classes: tuple[str, ...]  # in the order of the head's outputs; () of a regression
    low: float = 0.0  # range of a regression
    high: float = 0.0
    file: str = ""  # that describes it, for messages
    column: str = ""  # of the manifest
    votes: str = ""  # column of the annotators' votes, "" = none
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # corpus or EVERY_CORPUS -> word -> class
    drops: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the same -> words that count as no label
    colours: Mapping[str, str] = field(default_factory=dict)  # class -> #rrggbb
    sentiments: Mapping[str, str] = field(default_factory=dict)  # class -> negative, neutral or positive

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs: the classes; of a regression its own name."""
        return self.classes or (self.name,)

    def targets(self, manifest: pd.DataFrame) -> np.ndarray:
        """What a head should answer for each row.

        classification (N,) int64, UNLABELLED without a label; multilabel (N, C) float32 of 0 and 1, and regression
        (N,) float32, NaN without a label. Raises on a word or number that the space does not know.
        """
        values = manifest[self.column] if self.column in manifest else [None] * len(manifest)
        pairs = list(zip(manifest["corpus"], values, strict=True))
        if self.kind == "regression":
            return np.array([self._number(corpus, value) for corpus, value in pairs], dtype=np.float32)
        if self.kind == "multilabel":
            sets = [self._set(corpus, value) for corpus, value in pairs]
            return np.array(sets, dtype=np.float32).reshape(len(pairs), len(self.classes))
        order = {label: index for index, label in enumerate(self.classes)}
        indices = np.array(
            [UNLABELLED if (label := self._class(*pair)) is None else order[label] for pair in pairs], np.int64
        )
        distributions = self.distributions(manifest)
        return indices if distributions is None else np.where(indices < 0, _majority(distributions), indices)

    def cells(self, targets: np.ndarray) -> list[str | list[str] | float | None]:
        """The targets in words, or as numbers; None without a label."""
        if self.kind == "classification":
            return [self.classes[number] if number >= 0 else None for number in targets]
        if self.kind == "regression":
            return [None if np.isnan(value) else float(value) for value in targets]
        return [
            None if np.isnan(row).any() else [name for name, holds in zip(self.classes, row, strict=True) if holds]
            for row in targets
        ]

    def distributions(self, manifest: pd.DataFrame) -> np.ndarray | None:
        """(N, C) float32: the share of the annotators' votes for each class, NaN without any; or None."""
        if not self.votes or self.votes not in manifest:
            return None
        shares = [self._shares(*pair) for pair in zip(manifest["corpus"], manifest[self.votes], strict=True)]
        return np.array(shares, dtype=np.float32).reshape(len(shares), len(self.classes))

    def _class(self, corpus: str, word: Any) -> str | None:
        """The class that a corpus's word means; None for no label."""
        if _is_null(word):
            return None
        if not isinstance(word, str):
            raise self._misfit(
                corpus,
                word,
                f"is no word; a table's numbers are words by data.{corpus}.kinds: {{{self.column}: word}}",
            )
        for scope in (corpus, EVERY_CORPUS):
            if word in self.maps.get(scope, ()):
                return self.maps[scope][word]
            if word in self.drops.get(scope, ()):
                return None
        if word in self.classes:
            return word
        if ANY_WORD in (*self.drops.get(corpus, ()), *self.drops.get(EVERY_CORPUS, ())):
            return None
        words = ", ".join(self.classes)
        raise self._misfit(
            corpus,
            word,
            f"is unknown to data.labels: {self.file}; there are {words}; correct the word, or add it there to "
            f"tasks.{self.name}: classes, map or drop",
        )

    def _set(self, corpus: str, words: Any) -> list[float]:
        if _is_null(words):
            return [np.nan] * len(self.classes)
        if isinstance(words, str) or not isinstance(words, Iterable):
            raise self._misfit(
                corpus,
                words,
                f"is no list of words, which a multilabel task takes: write `{'; '.join(self.classes[:2])}`, or "
                f"data.{corpus}.kinds: {{{self.column}: list}} in params.yaml",
            )
        held = {self._class(corpus, word) for word in words}
        return [float(name in held) for name in self.classes]

    def _shares(self, corpus: str, votes: Any) -> list[float]:
        if not _is_null(votes) and not _is_counts(votes):
            first, second = self.classes[:2]
            raise UserError(
                f"{corpus}: {self.votes} = {votes!r}: is no votes, or another cell of the column is none: write "
                f"`{first}: 3; {second}: 1`; data.{corpus}.kinds: {{{self.votes}: votes}} names the cell"
            )
        counts = dict.fromkeys(self.classes, 0.0)
        for word, count in [] if _is_null(votes) else dict(votes).items():
            label = self._class(corpus, word)
            if label is not None:
                counts[label] += count
        total = sum(counts.values())
        return [count / total if total > 0 else np.nan for count in counts.values()]

    def _number(self, corpus: str, value: Any) -> float:
        if _is_null(value):
            return np.nan
        if isinstance(value, str) or not np.isscalar(value):
            raise self._misfit(
                corpus,
                value,
                "is no number, which a regression takes, or stands in a column with one that is none: "
                f"data.{corpus}.kinds: {{{self.column}: number}} in params.yaml names that",
            )
        if not self.low <= float(value) <= self.high:  # pyright: ignore[reportArgumentType]
            raise self._misfit(
                corpus,
                value,
                f"lies outside tasks.{self.name}.range = [{self.low:g}, {self.high:g}] of {self.file}",
            )
        return float(value)  # pyright: ignore[reportArgumentType]

    def _misfit(self, corpus: str, value: Any, reason: str) -> UserError:
        return UserError(f"{corpus}: {self.column} = {value!r}: {reason}")


@dataclass(frozen=True)
class LabelSpace:
    """The tasks, in order."""

    name: str
    tasks: dict[str, Task]

    @property
    def outputs(self) -> dict[str, tuple[str, ...]]:
        """task -> the names of its head's outputs."""
        return {name: task.outputs for name, task in self.tasks.items()}

    def targets(self, manifest: pd.DataFrame, task: str) -> np.ndarray:
        """What the task's head should answer for each row (Task.targets)."""
        return self.tasks[task].targets(manifest)

    def labelled(self, manifest: pd.DataFrame) -> dict[str, np.ndarray]:
        """task -> (N,) bool: the rows with a label. Raises if a label has no meaning in this space."""
        return {name: is_labelled(task.targets(manifest)) for name, task in self.tasks.items()}

    def check_corpora(self, known: Iterable[str]) -> None:
        """Raise if map or drop names a corpus that there is not, whose words would silently keep their meaning."""
        names = (EVERY_CORPUS, *known)
        for task in self.tasks.values():
            for key, by_corpus in (("map", task.maps), ("drop", task.drops)):
                if unknown := [corpus for corpus in by_corpus if corpus not in names]:
                    raise UserError(
                        f"{task.file}: tasks.{task.name}.{key}.{unknown[0]}: is no corpus; choose one of "
                        f"{', '.join(names)}"
                    )


def is_labelled(targets: np.ndarray) -> np.ndarray:
    """(N,) bool of the targets of any task."""
    if targets.dtype == np.int64:
        return targets >= 0
    return np.asarray(np.isfinite(targets.reshape(len(targets), -1)).all(axis=1))


def label_space(name: str) -> LabelSpace:
    """The label space that data.labels in params.yaml names."""
    own = OWN_FOLDER / f"{name}.yaml"
    plain = name.removeprefix(f"{OWN_FOLDER}/").removesuffix(".yaml").removesuffix(".yml")
    if plain != name:
        raise UserError(
            f"params.yaml: data.labels = {name!r}: write the name alone, {plain}, of the file {plain}.yaml"
        )
    if own.with_suffix(".yml").exists():
        raise UserError(f"{own.with_suffix('.yml')}: is not looked for; call it {own.name}")
    if name in BUILT_IN:
        if own.exists():
            raise UserError(
                f"{own}: {name} is the name of a built-in label space; rename the file, and data.labels"
            )
        path, shown = BUILT_IN_FOLDER / f"{name}.yaml", name
    elif "/" not in name and own.is_file():
        path, shown = own, str(own)
    else:
        raise UserError(
            f"params.yaml: data.labels = {name!r}: choose one of {', '.join(BUILT_IN)}, "
            f"or write {own} (docs/data.md)"
        )
    sections = read_tasks(path)
    return LabelSpace(name, {task: _task(task, shown, section) for task, section in sections.items()})


def _task(name: str, file: str, section: TaskSection) -> Task:
    low, high = section.range or (0.0, 0.0)
    return Task(
        name,
        section.kind,
        tuple(section.classes),
        low,
        high,
        file,
        section.column or name,
        section.votes,
        section.map,
        section.drop,
        section.colours,
        section.sentiments,
    )


def _is_null(value: Any) -> bool:
    """Whether a cell of the manifest holds nothing; a list is something, even an empty one."""
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _is_counts(votes: Any) -> bool:
    """Whether a cell holds words with their counts: a mapping, or, from a manifest, pairs."""
    if isinstance(votes, str | float):
        return False
    return isinstance(votes, Mapping) or not any(isinstance(one, str) for one in votes)


def _majority(distributions: np.ndarray) -> np.ndarray:
    """(N,) the class with most votes; UNLABELLED without votes and where two are level."""
    filled = np.nan_to_num(distributions)
    most = filled.max(1, keepdims=True)
    is_clear = (most[:, 0] > 0) & ((filled == most).sum(1) == 1)
    return np.where(is_clear, filled.argmax(1), UNLABELLED)

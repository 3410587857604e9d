"""Listing of a corpus's utterances, the interface between corpus readers and extraction; no media opened yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A label beside emotion and sentiment: a word (one class), a number, words (all that hold, perhaps none), or the
# annotators' votes for each word
Label = str | float | tuple[str, ...] | Mapping[str, float]


@dataclass(frozen=True)
class Window:
    """Part of a recording that is an utterance: from `start` to `end` seconds, and a range of its width."""

    start: float
    end: float
    columns: tuple[float, float] = (0.0, 1.0)  # left and right edge, as fractions of the width


@dataclass(frozen=True, slots=True)  # slots: a corpus may have a million
class Utterance:
    """Annotation of one utterance, and where its media are."""

    split: str
    dialogue: str
    name: str  # unique within the split; names the files
    group: str  # unique across splits
    speaker: str
    text: str
    emotion: str | None  # the corpus's own labels
    sentiment: str | None
    start: float | None  # seconds in the source
    end: float | None
    media: Path | None  # the file to decode
    clip: str | None  # `media` below data/raw/<corpus>
    absent: str = ""  # why there is no `media`
    source: str | None = None  # id of the recording that start and end refer to, unique within the corpus
    sound: Path | None = None  # file with the sound, if not `media`
    window: Window | None = None  # the part of `media` to keep, if not all
    intensity: str | None = None  # if the corpus has it
    num_repaired: int = 0  # characters of the text that were read as cp1252
    asr: str = ""  # catalogued weights that write the text down, if none is given
    language: str = ""  # what is spoken, if the reader knows it
    # further labels, each a column of the manifest, the same kind of label throughout the corpus; None = unlabelled
    labels: Mapping[str, Label | None] = field(default_factory=dict)
    place: str = ""  # the row of the user's own table that says so, for messages


@dataclass
class Listing:
    """All utterances, those of a dialogue contiguous and in order, and the reader's report."""

    utterances: list[Utterance]
    ignored: list[dict[str, Any]] = field(default_factory=list)  # skipped items: {"split", "item", "reason"}
    decided: list[dict[str, Any]] = field(default_factory=list)  # ambiguities resolved: {"split", "item", "reason"}
    truth: dict[str, Path] = field(default_factory=dict)  # split -> ground truth table (truth.py)


def add_note(notes: list[dict[str, Any]], split: str | None, item: str, reason: str) -> None:
    """Append one entry of the report."""
    notes.append({"split": split, "item": item, "reason": reason})

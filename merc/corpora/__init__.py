"""Corpora: one module per dataset. A reader says what the utterances are and where their media lie."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from merc import params
from merc.decoding import Window
from merc.problem import Problem

# folder under data/raw -> module with `Options` (its section data.<corpus> of params.yaml) and
# `read(folder, scratch, options) -> Listing`; `scratch` is where archives may be unpacked
CORPORA = {
    "sample": "merc.corpora.sample",
    "meld": "merc.corpora.meld",
    "iemocap": "merc.corpora.iemocap",
    "ravdess": "merc.corpora.ravdess",
    "folder": "merc.corpora.folder",
}


@dataclass(frozen=True)
class Utterance:
    """What a corpus says of one utterance, before any medium is opened."""

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
    media: Path | None  # what is decoded
    clip: str | None  # `media` below data/raw/<corpus>
    absent: str = ""  # why there is no `media`
    source: str | None = None  # recording, unique within the corpus, that start and end are seconds of
    sound: Path | None = None  # where the sound is, if not in `media`
    window: Window | None = None  # the part of `media` that the utterance is, if not all
    intensity: str | None = None  # where a corpus knows it
    text_flags: tuple[str, ...] = ()
    text_reason: str = ""


@dataclass
class Listing:
    """All utterances, a dialogue's contiguous and in order; and what the reader passed over or decided."""

    utterances: list[Utterance]
    ignored: list[dict[str, Any]] = field(default_factory=list)  # {"split", "item", "reason"}
    decided: list[dict[str, Any]] = field(default_factory=list)  # {"split", "item", "reason"}
    truth: dict[str, Path] = field(default_factory=dict)  # split -> truth table


def read(corpus: str, folder: Path, scratch: Path) -> Listing:
    """What is in data/raw/<corpus>."""
    if not folder.is_dir():
        raise Problem(f"{folder}: not there; docs/data.md says how to bring it, or take it off data.corpora")
    reader = module(corpus)
    listing = reader.read(folder, scratch, params.read(f"data.{corpus}", reader.Options))
    _check_names(corpus, listing)
    return listing


def module(corpus: str) -> ModuleType:
    """The module that reads a corpus."""
    if corpus not in CORPORA:
        raise Problem(f"{params.FILE}: data.corpora: {corpus!r} is unknown; choose from {', '.join(CORPORA)}")
    return importlib.import_module(CORPORA[corpus])


def note(notes: list[dict[str, Any]], split: str | None, item: str, reason: str) -> None:
    """One line of the report."""
    notes.append({"split": split, "item": item, "reason": reason})


def _check_names(corpus: str, listing: Listing) -> None:
    """Names become file names: none may leave the output folder, none may occur twice."""
    seen = set()
    for one in listing.utterances:
        if (one.split, one.name) in seen or Path(one.name).name != one.name or one.name.startswith("."):
            raise Problem(f"{corpus}: {one.split}: {one.name!r} cannot name a file, or does so twice")
        seen.add((one.split, one.name))

"""Acted corpora: a recording is a dialogue of one utterance, and its file's name says who, what and how."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from merc.corpora.forms import splits
from merc.data.records.listing import Listing, Utterance
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".mov", ".mkv", ".avi", ".webm", ".flv")
FOLDS_TABLE = "folds.csv"


def recordings(folder: Path) -> Iterator[Path]:
    """Every recording below a folder, by its path."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def speaker_splits(folder: Path, speakers: Iterable[str], folds: int, fold: int) -> dict[str, str]:
    """speaker -> split: the speakers of `fold` are test, those of the next fold dev.

    As folds.csv (speaker,test_fold) in the folder says; without one, the sorted speakers are dealt into the folds.
    """
    names, path = sorted(set(speakers)), folder / FOLDS_TABLE
    if path.is_file():
        return splits.splits_of_folds(splits.read_folds(path, "speaker", names), folds, fold)
    return splits.fold_splits(names, folds, fold)


def by_split(listing: Listing, utterances: Iterable[Utterance], folder: Path, example: str) -> Listing:
    """The listing with these utterances, ordered by split; refused if there are none."""
    listing.utterances = sorted(utterances, key=lambda utterance: SPLITS.index(utterance.split))
    if not listing.utterances:
        raise UserError(f"{folder}: no recording named like {example}; see docs/data.md")
    return listing

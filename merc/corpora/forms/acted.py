"""Recordings below a folder, whose names say what they are, and the splits of acted corpora by their speakers."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from merc.corpora.forms import splits
from merc.data.records.listing import Listing, Utterance
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError

# of files of one recording, the first that is there is used
SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
VIDEOS = (".flv", ".mp4", ".mov", ".mkv", ".avi", ".webm")  # CREMA-D's own are .flv
SUFFIXES = SOUNDS + VIDEOS
FOLDS_TABLE = "folds.csv"


def recordings(folder: Path) -> Iterator[Path]:
    """Every recording below a folder, by its path."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def media_and_sound(files: Mapping[str, Path]) -> tuple[Path | None, Path | None]:
    """The file to decode, of those of one recording by suffix, and the file with its sound, if that is another."""
    video = next((files[suffix] for suffix in VIDEOS if suffix in files), None)
    sound = next((files[suffix] for suffix in SOUNDS if suffix in files), None)
    return (video, sound) if video else (sound, None)


def speaker_splits(folder: Path, speakers: Iterable[str], folds: int, fold: int) -> dict[str, str]:
    """speaker -> split: the speakers of `fold` are test, those of the next fold dev.

    As folds.csv (speaker,test_fold) in the folder says; without one, the sorted speakers are dealt into the folds.
    """
    names, path = sorted(set(speakers)), folder / FOLDS_TABLE
    if path.is_file():
        return splits.read_folds(path, "speaker", names, folds, fold)
    return splits.fold_splits(names, folds, fold)


def by_split(listing: Listing, utterances: Iterable[Utterance], folder: Path, example: str) -> Listing:
    """The listing with these utterances, ordered by split; refused if there are none."""
    listing.utterances = sorted(utterances, key=lambda utterance: SPLITS.index(utterance.split))
    if not listing.utterances:
        raise UserError(f"{folder}: no recording named like {example}; see docs/data.md")
    return listing

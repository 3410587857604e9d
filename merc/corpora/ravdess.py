"""Reader of RAVDESS: 24 actors, each speaking (or singing) two sentences in eight emotions.

Livingstone & Russo, 2018: The Ryerson Audio-Visual Database of Emotional Speech and Song.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from merc.data.records.labels import RAVDESS_EMOTIONS
from merc.data.records.listing import Listing, Utterance, add_note
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

# modality, channel, emotion, intensity, statement, repetition, actor
NAME_PATTERN = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".mov", ".mkv", ".avi", ".webm")
FULL, VIDEO_ONLY, AUDIO_ONLY = "01", "02", "03"
PREFERRED = (FULL, AUDIO_ONLY, VIDEO_ONLY)  # order of preference among the recordings of one performance
CHANNELS = {"01": "speech", "02": "song"}
EMOTIONS = {f"{number:02}": emotion for number, emotion in enumerate(RAVDESS_EMOTIONS, start=1)}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
ACTORS = range(1, 25)
FOLDS = 6
FOLDS_TABLE = "folds.csv"


class Options(StrictModel):
    """Section `data.ravdess` of params.yaml."""

    channel: Literal["speech", "song", "both"]
    # 1-6: the actors of this fold in folds.csv are test, those of the next fold dev; 0: as in the two lists
    fold: int = Field(ge=0, le=FOLDS)
    test_actors: list[int]
    dev_actors: list[int]


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read every recording below data/raw/ravdess, in any folders and any supported format."""
    test, dev = _by_fold(folder / FOLDS_TABLE, options.fold) if options.fold else _by_list(options)
    listing, performances = Listing([]), defaultdict(dict)
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_file() and (match := _match_name(path, options, listing)):
            _add(performances, path, match, listing)
    utterances = [
        _utterance(recordings, folder, test, dev, listing) for _, recordings in sorted(performances.items())
    ]
    if not utterances:
        raise UserError(f"{folder}: no recording named like 03-01-06-01-02-01-12.wav; see docs/data.md")
    listing.utterances = sorted(utterances, key=lambda utterance: SPLITS.index(utterance.split))
    return listing


def _by_fold(path: Path, fold: int) -> tuple[set[int], set[int]]:
    """Test and dev actors of a fold, from EmoBox's table."""
    if not path.is_file():
        raise UserError(f"{path}: not there; write it (actor,test_fold; docs/tutorials/ravdess.md) or set data.ravdess.fold to 0")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        folds = {int(row["actor"]): int(row["test_fold"]) for row in rows}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: needs the columns actor and test_fold, both numbers") from None
    if set(folds) != set(ACTORS) or not set(folds.values()) <= set(range(1, FOLDS + 1)):
        raise UserError(f"{path}: needs each of the actors 1 to 24 once, in a fold from 1 to {FOLDS}")
    test, dev = (
        {actor for actor, test_fold in folds.items() if test_fold == number} for number in (fold, fold % FOLDS + 1)
    )
    return test, dev


def _by_list(options: Options) -> tuple[set[int], set[int]]:
    """Test and dev actors named in params.yaml."""
    test, dev = set(options.test_actors), set(options.dev_actors)
    if unknown := sorted((test | dev) - set(ACTORS)):
        raise UserError(f"params.yaml: data.ravdess: actor {unknown[0]}: RAVDESS has the actors 1 to 24")
    if both := sorted(test & dev):
        raise UserError(
            f"params.yaml: data.ravdess: actor {both[0]} is in test_actors and in dev_actors; choose one"
        )
    return test, dev


def _match_name(path: Path, options: Options, listing: Listing) -> re.Match[str] | None:
    """Match a recording's file name; None if it is no recording or of the other channel."""
    if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
        return None
    match = NAME_PATTERN.fullmatch(path.stem)
    if match is None or int(match[7]) not in ACTORS:
        add_note(listing.ignored, None, path.name, "not a name of RAVDESS's: 03-01-06-01-02-01-12")
        return None
    return match if options.channel in ("both", CHANNELS[match[2]]) else None


def _add(performances: dict, path: Path, match: re.Match[str], listing: Listing) -> None:
    """Add a recording to its performance, one per kind (FULL, VIDEO_ONLY, AUDIO_ONLY)."""
    recordings = performances[path.stem[3:]]
    if match[1] in recordings:
        add_note(listing.ignored, None, path.name, f"a second copy of {recordings[match[1]].name}")
    recordings.setdefault(match[1], path)


def _utterance(
    recordings: dict[str, Path], folder: Path, test: set[int], dev: set[int], listing: Listing
) -> Utterance:
    """Utterance of one performance, which is a dialogue by itself."""
    chosen = next(recordings[kind] for kind in PREFERRED if kind in recordings)
    _, _, emotion, intensity, statement, _, actor = chosen.stem.split("-")
    split = "test" if int(actor) in test else "dev" if int(actor) in dev else "train"
    for other in sorted(path.name for path in recordings.values() if path != chosen):
        add_note(listing.ignored, split, other, f"the same performance as {chosen.name}")
    return Utterance(
        split=split,
        dialogue=chosen.stem,
        name=chosen.stem,
        group=f"ravdess/actor-{actor}",
        speaker=f"actor-{actor}",
        text=STATEMENTS[statement],
        emotion=EMOTIONS[emotion],
        sentiment=None,
        start=None,
        end=None,
        media=chosen,
        clip=chosen.relative_to(folder).as_posix(),
        intensity=INTENSITIES[intensity],
    )

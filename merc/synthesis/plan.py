"""The list of utterances to draw: dialogues with their ids, gaps and planted defects."""

from dataclasses import dataclass, replace
from pathlib import Path

from merc.synthesis import process
from merc.synthesis.clip import Utterance, words
from merc.synthesis.defects import REPAIRED

# MELD's names for the folders of its splits
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
SKIPPED_DIALOGUE = {"train": 3, "dev": 2, "test": 4}  # ids that nobody has
SKIPPED_UTTERANCE = (1, 2)  # in dialogue 1 no utterance is number 2
# Which split gets what: the clip of an utterance is spoiled ...
SPOILED = {"train": ("corrupt", "near-zero", "u0092"), "dev": ("missing", "overlong"), "test": ()}
# ... or a file lies beside the clips that no label row knows.
STRAYS = {"train": (), "dev": ("apple",), "test": ("unlabelled", "twin")}
ALIEN = 900  # added to the dialogue's number for what is drawn into a stray file


@dataclass(frozen=True)
class Stray:
    """A file that no label row knows; `drawn` is None for an AppleDouble file beside `clip`."""

    clip: Path
    drawn: Utterance | None


def utterances(seed: int, split: str, count: int, folder: Path) -> list[Utterance]:
    """The label rows of a split in order, so many of them."""
    rows: list[Utterance] = []
    dialogue = 0
    while len(rows) < count:
        if dialogue != SKIPPED_DIALOGUE[split]:
            rows += _dialogue(seed, split, dialogue, folder)[: count - len(rows)]
        dialogue += 1
    return _spoil(rows, SPOILED[split])


def strays(rows: list[Utterance]) -> list[Stray]:
    """The files of a split that have no label row; none if the split has but one dialogue."""
    last = rows[-1]
    if last.dialogue == 0:
        return []
    return [_STRAYS[kind](last) for kind in STRAYS[last.split]]


def _dialogue(seed: int, split: str, dialogue: int, folder: Path) -> list[Utterance]:
    numbers = list(range(process.length(seed, split, dialogue)))
    if dialogue == SKIPPED_UTTERANCE[0]:
        numbers = [number + (number >= SKIPPED_UTTERANCE[1]) for number in numbers]
    lines = process.dialogue_lines(seed, split, dialogue, numbers)
    clips = [folder / FOLDERS[split] / f"dia{dialogue}_utt{number}.mp4" for number in numbers]
    return [
        Utterance(seed, split, dialogue, number, line.speaker, line.mood, line.shown, clip)
        for number, line, clip in zip(numbers, lines, clips, strict=True)
    ]


def _spoil(rows: list[Utterance], wanted: tuple[str, ...]) -> list[Utterance]:
    """Give each defect to an utterance after the first dialogue that can have it."""
    free = [index for index, row in enumerate(rows) if row.dialogue > 0]
    for defect in wanted:
        able = [index for index in free if defect != "u0092" or REPAIRED in words(rows[index]).text]
        if able:
            rows[able[0]] = replace(rows[able[0]], defect=defect)
            free = [index for index in free if index > able[0]]
    return rows


def _unlabelled(last: Utterance) -> Stray:
    """One more clip in the last dialogue than it has label rows."""
    path = last.path.with_name(f"dia{last.dialogue}_utt{last.number + 1}.mp4")
    return Stray(path, replace(last, dialogue=last.dialogue + ALIEN, path=path, defect=""))


def _twin(last: Utterance) -> Stray:
    """A second clip for the same label row, with another content."""
    path = last.path.with_name(f"final_videos_test{last.path.name}")
    return Stray(path, replace(last, dialogue=last.dialogue + ALIEN + 1, path=path, defect="mistaken"))


def _apple(last: Utterance) -> Stray:
    return Stray(last.path, None)


_STRAYS = {"apple": _apple, "unlabelled": _unlabelled, "twin": _twin}

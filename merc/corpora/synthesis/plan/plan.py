"""List of the utterances to synthesise: dialogues with their ids, gaps and planted defects."""

from dataclasses import dataclass, replace
from pathlib import Path

from merc.corpora.synthesis.clip import Utterance, utterance_sentence
from merc.corpora.synthesis.defects import APOSTROPHE
from merc.corpora.synthesis.plan import process

# split -> MELD's folder name
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
SKIPPED_DIALOGUE = {"train": 3, "dev": 2, "test": 4}  # ids left out
SKIPPED_UTTERANCE = (1, 2)  # dialogue 1 has no utterance 2
# Defects of each split: those of an utterance's clip or text ...
DEFECTS = {"train": ("corrupt", "near-zero", "u0092"), "dev": ("missing", "overlong"), "test": ()}
# ... and extra files without a label row.
STRAYS = {"train": (), "dev": ("apple",), "test": ("unlabelled", "twin")}
STRAY_OFFSET = 900  # added to the dialogue number that seeds the content of a stray file


@dataclass(frozen=True)
class Stray:
    """A file without a label row; `content` is None for an AppleDouble file beside `clip`."""

    clip: Path
    content: Utterance | None


def plan_utterances(seed: int, split: str, count: int, folder: Path) -> list[Utterance]:
    """Plan the `count` utterances of a split, in order."""
    rows: list[Utterance] = []
    dialogue = 0
    while len(rows) < count:
        if dialogue != SKIPPED_DIALOGUE[split]:
            rows += _dialogue(seed, split, dialogue, folder)[: count - len(rows)]
        dialogue += 1
    return _plant_defects(rows, DEFECTS[split])


def plan_strays(rows: list[Utterance]) -> list[Stray]:
    """Files of a split without a label row; none if the split has only one dialogue."""
    last = rows[-1]
    if last.dialogue == 0:
        return []
    return [_stray(kind, last) for kind in STRAYS[last.split]]


def _dialogue(seed: int, split: str, dialogue: int, folder: Path) -> list[Utterance]:
    """Plan the utterances of a dialogue."""
    numbers = list(range(process.dialogue_length(seed, split, dialogue)))
    if dialogue == SKIPPED_UTTERANCE[0]:
        numbers = [number + (number >= SKIPPED_UTTERANCE[1]) for number in numbers]
    lines = process.dialogue_lines(seed, split, dialogue, numbers)
    clips = [folder / FOLDERS[split] / f"dia{dialogue}_utt{number}.mp4" for number in numbers]
    return [
        Utterance(seed, split, dialogue, number, line.speaker, line.mood, line.shown, clip)
        for number, line, clip in zip(numbers, lines, clips, strict=True)
    ]


def _plant_defects(rows: list[Utterance], defects: tuple[str, ...]) -> list[Utterance]:
    """Give each defect to the next suitable utterance after the first dialogue."""
    available = [index for index, row in enumerate(rows) if row.dialogue > 0]
    for defect in defects:
        suitable = [
            index for index in available if defect != "u0092" or APOSTROPHE in utterance_sentence(rows[index]).text
        ]
        if suitable:
            rows[suitable[0]] = replace(rows[suitable[0]], defect=defect)
            available = [index for index in available if index > suitable[0]]
    return rows


def _stray(kind: str, last: Utterance) -> Stray:
    """An AppleDouble file, an extra clip in the last dialogue, or a second clip for its last label row."""
    if kind == "apple":
        return Stray(last.path, None)
    if kind == "unlabelled":
        path = last.path.with_name(f"dia{last.dialogue}_utt{last.number + 1}.mp4")
        return Stray(path, replace(last, dialogue=last.dialogue + STRAY_OFFSET, path=path, defect=""))
    path = last.path.with_name(f"final_videos_test{last.path.name}")
    return Stray(path, replace(last, dialogue=last.dialogue + STRAY_OFFSET + 1, path=path, defect="mistaken"))

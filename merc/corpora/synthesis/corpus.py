"""Write the bundled corpus: clips, CSVs and ground truth in MELD's layout, generated from a seed."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from merc.corpora.synthesis import defects
from merc.corpora.synthesis.clip import SynthesisedClip, Utterance, synthesise
from merc.corpora.synthesis.plan import plan
from merc.corpora.synthesis.plan.process import EMOTION, SENTIMENT
from merc.corpora.synthesis.plan.randomness import named_generator
from merc.data.records import truth
from merc.data.records.manifest import SPLITS
from merc.data.records.transcripts import timestamp
from merc.runtime import workers
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip
MIN_UTTERANCES = 6  # utterances in a split
SEASONS, EPISODES, EPISODE_SECONDS = 9, 24, 1200
PAUSE_SECONDS = (0.1, 1.5)  # between two utterances


Count = Annotated[int, Field(ge=0, le=100_000)]


class Counts(StrictModel):
    """Section `sample.utterances` of params.yaml."""

    train: Count
    dev: Count
    test: Count


def write_corpus(folder: Path, seed: int, counts: Counts) -> None:
    """Generate every split into a new folder."""
    rows = [row for split in SPLITS for row in _rows(seed, split, getattr(counts, split), folder)]
    strays = [stray for split in SPLITS for stray in plan.plan_strays([row for row in rows if row.split == split])]
    clips = rows + [stray.content for stray in strays if stray.content]
    results = _check(clips, workers.run(clips, synthesise, label="sample"))
    for stray in strays:
        if stray.content is None:
            defects.apple_double(stray.clip)
    for split in SPLITS:
        _write_split(folder, split, [pair for pair in zip(rows, results, strict=False) if pair[0].split == split])


def _rows(seed: int, split: str, count: int, folder: Path) -> list[Utterance]:
    """Plan the utterances of a split."""
    if count < MIN_UTTERANCES:
        raise UserError(f"params.yaml: sample.utterances.{split} = {count}: at least {MIN_UTTERANCES}")
    return plan.plan_utterances(seed, split, count, folder)


def _check(
    clips: Sequence[Utterance], results: Sequence[SynthesisedClip | workers.JobFailure]
) -> list[SynthesisedClip]:
    """Raise if a clip failed."""
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, workers.JobFailure):
            raise UserError(f"{clip.path}: could not be drawn: {result.reason}; run it again")
    return [result for result in results if isinstance(result, SynthesisedClip)]


def _write_split(folder: Path, split: str, rows: list[tuple[Utterance, SynthesisedClip]]) -> None:
    """Write the ground truth and the CSV of a split."""
    truth.write_truth(folder / "truth" / f"{split}.parquet", [result.truth for _, result in rows])
    with (folder / f"{split}_sent_emo.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_label_rows(rows))


def _label_rows(rows: list[tuple[Utterance, SynthesisedClip]]) -> list[tuple]:
    """Rows of the CSV; a dialogue starts at a random time of a random episode."""
    label_rows, end = [], 0.0
    for serial, (utterance, result) in enumerate(rows, start=1):
        random = named_generator(utterance.seed, utterance.split, utterance.dialogue, "episode")
        season, episode = int(random.integers(1, SEASONS + 1)), int(random.integers(1, EPISODES + 1))
        if serial == 1 or utterance.dialogue != rows[serial - 2][0].dialogue:
            end = random.uniform(0.0, EPISODE_SECONDS)
        start = end + utterance.random("pause").uniform(*PAUSE_SECONDS)
        end = start + result.seconds
        text = result.text
        if utterance.defect == "u0092":
            text = text.replace(defects.APOSTROPHE, defects.MOJIBAKE)
        mood = utterance.mood
        labels = (utterance.speaker, EMOTION[mood], SENTIMENT[mood], utterance.dialogue, utterance.number)
        label_rows.append((serial, text, *labels, season, episode, timestamp(start), timestamp(end)))
    return label_rows

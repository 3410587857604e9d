"""The bundled corpus as files: clips, CSVs and truth in MELD's own layout, drawn from a seed."""

import csv
from collections.abc import Sequence
from pathlib import Path

from merc import truth, work
from merc.manifest import SPLITS
from merc.params import Strict
from merc.problem import Problem
from merc.synthesis import defects, plan
from merc.synthesis.chance import generator
from merc.synthesis.clip import Drawn, Utterance, draw
from merc.synthesis.process import EMOTION, SENTIMENT

COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip
FEWEST = 6  # utterances of a split
SEASONS, EPISODES, EPISODE_SECONDS = 9, 24, 1200
PAUSE_SECONDS = (0.1, 1.5)  # between two utterances


class Counts(Strict):
    """Section `sample.utterances` of params.yaml."""

    train: int
    dev: int
    test: int


def draw_corpus(folder: Path, seed: int, counts: Counts) -> None:
    """Draw every split into the folder, which does not exist yet."""
    rows = [row for split in SPLITS for row in _rows(seed, split, getattr(counts, split), folder)]
    strays = [stray for split in SPLITS for stray in plan.strays([row for row in rows if row.split == split])]
    clips = rows + [stray.drawn for stray in strays if stray.drawn]
    drawn = _checked(clips, work.run(clips, draw, label="sample"))
    for stray in strays:
        if stray.drawn is None:
            defects.apple_double(stray.clip)
    for split in SPLITS:
        _write_split(folder, split, [pair for pair in zip(rows, drawn, strict=False) if pair[0].split == split])


def _rows(seed: int, split: str, count: int, folder: Path) -> list[Utterance]:
    if count < FEWEST:
        raise Problem(f"params.yaml: sample.utterances.{split} = {count}: at least {FEWEST}")
    return plan.utterances(seed, split, count, folder)


def _checked(clips: Sequence[Utterance], results: Sequence[Drawn | work.Failed]) -> list[Drawn]:
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, work.Failed):
            raise Problem(f"{clip.path}: could not be drawn: {result.reason}; run it again")
    return [result for result in results if isinstance(result, Drawn)]


def _write_split(folder: Path, split: str, drawn: list[tuple[Utterance, Drawn]]) -> None:
    truth.write(folder / "truth" / f"{split}.parquet", [one.truth for _, one in drawn])
    with (folder / f"{split}_sent_emo.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_label_rows(drawn))


def _label_rows(drawn: list[tuple[Utterance, Drawn]]) -> list[tuple]:
    rows, ends = [], 0.0
    for serial, (row, one) in enumerate(drawn, start=1):
        random = generator(row.seed, row.split, row.dialogue, "episode")
        season, episode = int(random.integers(1, SEASONS + 1)), int(random.integers(1, EPISODES + 1))
        if serial == 1 or row.dialogue != drawn[serial - 2][0].dialogue:
            ends = random.uniform(0.0, EPISODE_SECONDS)
        start = ends + row.random("pause").uniform(*PAUSE_SECONDS)
        ends = start + one.seconds
        text = one.text.replace(defects.REPAIRED, defects.BROKEN) if row.defect == "u0092" else one.text
        labels = (row.speaker, EMOTION[row.mood], SENTIMENT[row.mood], row.dialogue, row.number)
        rows.append((serial, text, *labels, season, episode, _clock(start), _clock(ends)))
    return rows


def _clock(seconds: float) -> str:
    """MELD's way to write a time: 00:16:16,059."""
    thousandths = round(seconds * 1000)
    hours, minutes, rest = thousandths // 3_600_000, thousandths // 60_000 % 60, thousandths % 60_000
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"

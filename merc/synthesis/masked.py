"""What is left of the best macro F1 when modalities go missing: `python -m merc.synthesis.masked`.

The masks are those of `evaluate`; the reader is that of `optimum.py`, who also knows the rate, and chooses the
weights of the labels on simulated dialogues that lose as much.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from merc import conditions, params
from merc.manifest import MODALITIES
from merc.synthesis import optimum, posterior
from merc.synthesis.process import Line


class Dialogues(NamedTuple):
    """Lines dialogue by dialogue, and their N ids as the manifest has them."""

    lines: list[list[Line]]
    ids: pd.DataFrame


class Left(NamedTuple):
    """The best macro F1 of each task at a rate, mean over the repeats."""

    rate: float
    reached: dict[str, float]


def table(seed: int, count: int, rates: list[float], repeats: int, mask_seed: int) -> list[Left]:
    """Every rate, 0 first, on the test split; `mask_seed` and the repeats are those of `evaluate`."""
    test, others = _test(seed, count), _simulated(seed)
    return [_left(rate, repeats if rate else 1, mask_seed, test, others) for rate in [0.0, *sorted(rates)]]


def _test(seed: int, count: int) -> Dialogues:
    lines: dict[int, list[Line]] = {}
    rows = optimum.split_rows(seed, "test", count)
    for row in rows:
        lines.setdefault(row.dialogue, []).append(Line(row.speaker, row.mood, row.shown))
    names = [(str(row.dialogue), f"dia{row.dialogue}_utt{row.number}") for row in rows]
    return Dialogues(list(lines.values()), _ids("test", names))


def _simulated(seed: int) -> Dialogues:
    lines = optimum.simulated(seed)
    names = [(str(d), f"dia{d}_utt{turn}") for d, own in enumerate(lines) for turn in range(len(own))]
    return Dialogues(lines, _ids("simulated", names))


def _ids(split: str, names: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(names, columns=["dialogue", "utterance"]).assign(corpus="sample", split=split)


def _left(rate: float, repeats: int, mask_seed: int, test: Dialogues, others: Dialogues) -> Left:
    learnt = _moods(others, rate, 1, mask_seed)
    seen = [_moods(test, rate, repeat, mask_seed) for repeat in range(1, repeats + 1)]
    reached = {}
    for task in optimum.TASKS:
        to_label = optimum.to_labels(task)
        weights = optimum.best_weights(learnt @ to_label, optimum.labels_of(others.lines, task))
        actual = optimum.labels_of(test.lines, task)
        named = [(moods @ to_label * weights).argmax(axis=1) for moods in seen]
        reached[task] = float(np.mean([optimum.macro_f1(actual, one) for one in named]))
    return Left(rate, reached)


def _moods(dialogues: Dialogues, rate: float, repeat: int, mask_seed: int) -> np.ndarray:
    """(N, moods) chances, knowing what the repeat's mask leaves of every utterance."""
    shown = conditions.present(f"rate:{rate:g}/{repeat}", dialogues.ids, MODALITIES, mask_seed)
    left = [tuple(m for m, there in zip(MODALITIES, row, strict=True) if there) for row in shown]
    ends = np.cumsum([len(lines) for lines in dialogues.lines])
    parts = [left[end - len(lines) : end] for end, lines in zip(ends, dialogues.lines, strict=True)]
    return np.concatenate(
        [posterior.moods_of_seen(lines, own) for lines, own in zip(dialogues.lines, parts, strict=True)]
    )


def rendered(left: list[Left]) -> str:
    """The table that stands in docs/data.md: the best score, and the share of the full score that it loses."""
    lines = ["| each modality missing at rate | emotion | lost | sentiment | lost |", "|---|---|---|---|---|"]
    for one in left:
        lost = {task: 1 - one.reached[task] / left[0].reached[task] for task in optimum.TASKS}
        cells = [f"{one.reached[task]:.3f} | {100 * lost[task]:.0f} %" for task in optimum.TASKS]
        lines.append(f"| {one.rate:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def documented() -> str:
    """The table for the committed parameters."""
    seed, count = params.read("sample.seed", int), params.read("sample.utterances.test", int)
    rates, repeats = params.read("evaluate.rates", list[float]), params.read("evaluate.repeats", int)
    return rendered(table(seed, count, rates, repeats, params.read("evaluate.mask_seed", int)))


if __name__ == "__main__":
    print(documented())

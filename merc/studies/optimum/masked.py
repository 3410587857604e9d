"""The best reachable macro F1 when modalities are missing: `python -m merc.studies.optimum.masked`.

The masks are those of `evaluate`. The classifier is that of `optimum.py`; it also knows the missing rate,
and chooses its label weights on simulated dialogues with the same rate.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from merc.corpora.synthesis.plan.process import DialogueTurn
from merc.data.records.manifest import MODALITIES
from merc.evaluation import missing_modalities
from merc.runtime import params
from merc.studies.optimum import optimum, posterior


class Dialogues(NamedTuple):
    """Lines by dialogue, and their N ids as in the manifest."""

    lines: list[list[DialogueTurn]]
    ids: pd.DataFrame


class MaskedScore(NamedTuple):
    """The best macro F1 of each task at a missing rate: mean over the repeats."""

    rate: float
    reached: dict[str, float]


def masked_scores(seed: int, count: int, rates: list[float], repeats: int, mask_seed: int) -> list[MaskedScore]:
    """Scores on the test split at every rate, 0 first; `mask_seed` and `repeats` are those of `evaluate`."""
    test, simulated = _test(seed, count), _simulated(seed)
    return [_left(rate, repeats if rate else 1, mask_seed, test, simulated) for rate in [0.0, *sorted(rates)]]


def _test(seed: int, count: int) -> Dialogues:
    names = [(str(row.dialogue), row.name) for row in optimum.split_rows(seed, "test", count)]
    return Dialogues(optimum.split_lines(seed, "test", count), _ids("test", names))


def _simulated(seed: int) -> Dialogues:
    lines = optimum.simulated_dialogues(seed)
    names = [(str(d), f"dia{d}_utt{turn}") for d, dialogue in enumerate(lines) for turn in range(len(dialogue))]
    return Dialogues(lines, _ids("simulated", names))


def _ids(split: str, names: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(names, columns=["dialogue", "utterance"]).assign(corpus="sample", split=split)


def _left(rate: float, repeats: int, mask_seed: int, test: Dialogues, simulated: Dialogues) -> MaskedScore:
    simulated_moods = _moods(simulated, rate, 1, mask_seed)
    test_moods = [_moods(test, rate, repeat, mask_seed) for repeat in range(1, repeats + 1)]
    reached = {}
    for task in optimum.TASKS:
        to_label = optimum.mood_to_label(task)
        weights = optimum.best_weights(simulated_moods @ to_label, optimum.label_indices(simulated.lines, task))
        targets = optimum.label_indices(test.lines, task)
        predictions = [(moods @ to_label * weights).argmax(axis=1) for moods in test_moods]
        reached[task] = float(np.mean([optimum.macro_f1(targets, predicted) for predicted in predictions]))
    return MaskedScore(rate, reached)


def _moods(dialogues: Dialogues, rate: float, repeat: int, mask_seed: int) -> np.ndarray:
    """(N, moods) posterior of every utterance, given the modalities that the mask of this repeat leaves."""
    present = missing_modalities.condition_mask(f"rate:{rate:g}/{repeat}", dialogues.ids, MODALITIES, mask_seed)
    left = [tuple(m for m, is_left in zip(MODALITIES, row, strict=True) if is_left) for row in present]
    ends = np.cumsum([len(lines) for lines in dialogues.lines])
    parts = [left[end - len(lines) : end] for end, lines in zip(ends, dialogues.lines, strict=True)]
    return np.concatenate(
        [
            posterior.mood_posterior_by_line(lines, modalities)
            for lines, modalities in zip(dialogues.lines, parts, strict=True)
        ]
    )


def render_masked_scores(left: list[MaskedScore]) -> str:
    """The table of docs/data.md: the best score at each rate, and the fraction lost relative to rate 0."""
    lines = ["| each modality missing at rate | emotion | lost | sentiment | lost |", "|---|---|---|---|---|"]
    for scores in left:
        lost = {task: 1 - scores.reached[task] / left[0].reached[task] for task in optimum.TASKS}
        cells = [f"{scores.reached[task]:.3f} | {100 * lost[task]:.0f} %" for task in optimum.TASKS]
        lines.append(f"| {scores.rate:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def documented_table() -> str:
    """The table for the committed parameters."""
    seed, count = params.read("sample.seed", int), params.read("sample.utterances.test", int)
    rates, repeats = params.read("evaluate.rates", list[float]), params.read("evaluate.repeats", int)
    return render_masked_scores(masked_scores(seed, count, rates, repeats, params.read("evaluate.mask_seed", int)))


if __name__ == "__main__":
    print(documented_table())

"""The evaluation with modalities left out that are unlike what was learnt (merc/training/core/typicality.py).

The conditions `typical` and `typical:<corruption>` of the predictions are the test split, or a corrupted one, under
that rule. metrics/typicality.json compares the student with and without it; all other scores are without.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from merc.data.batches.dataset import Split
from merc.data.records.selection import MAIN_METRIC
from merc.evaluation import bootstrap
from merc.evaluation.headline import headline
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions

CONDITION = "typical"
MODEL = "student"


def condition(corruption: str) -> str:
    """The condition's name of a corruption."""
    return f"{CONDITION}:{corruption}"


def is_of_rule(name: str) -> bool:
    """Whether a condition leaves out what is not typical."""
    return name.partition(":")[0] == CONDITION


def shares(split: Split, kept: np.ndarray) -> dict[str, float]:
    """Of the utterances, those that lose each modality, any, or all that they have; `kept` (N, M) is the rule's."""
    present = split.present.cpu().numpy()
    is_lost = present & ~kept
    by_modality = dict(zip(split.modalities, is_lost.mean(axis=0).tolist(), strict=True))
    is_blind = is_lost.any(axis=1) & (is_lost == present).all(axis=1)
    return by_modality | {"any": float(is_lost.any(axis=1).mean()), "all": float(is_blind.mean())}


def compare(predictions: Predictions, left_out: Mapping[str, Any], draws: bootstrap.Draws) -> dict[str, Any]:
    """{condition: {left_out, and by task the scores without and with the rule}}; `left_out` by condition.

    The undamaged split (`full`), whose shares are false alarms, has every score, a damaged one the main one.
    """
    return {
        name: {"left_out": left_out[name]}
        | {task: _scores(predictions, task, name, draws) for task in predictions.classes}
        for name in left_out
    }


def _scores(predictions: Predictions, task: str, name: str, draws: bootstrap.Draws) -> dict[str, Any]:
    conditions = {"without": name, "with": CONDITION if name == FULL else condition(name)}
    if name == FULL:
        return {title: headline(predictions, task, MODEL, draws, of) for title, of in conditions.items()}
    return {title: _main_score(predictions, task, of) for title, of in conditions.items()}


def _main_score(predictions: Predictions, task: str, of: str) -> float:
    sums, measure = predictions.confusions(task, MODEL, [of]), predictions.measure(task)
    return float(measure.summarise(sums)[MAIN_METRIC[measure.kind]].mean())

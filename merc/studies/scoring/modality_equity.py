"""Equity over modalities: whether a system rests on all of them, or on one.

In the spirit of MissBench's Modality Equity Index (arXiv:2603.09874), higher is more even; its formula was not
available to us, and this one is ours. With d_m the score lost when modality m alone is missing (full - `only:` all
others; a gain counts as no loss), equity = 1 - G M / (M - 1), where G is the Gini coefficient of the M losses: at
most (M - 1) / M.
"""

from collections.abc import Mapping

import numpy as np

from merc.data.records.manifest import MODALITIES
from merc.evaluation.missing_modalities import FULL


def losses(by_condition: Mapping[str, float]) -> dict[str, float]:
    """{modality: score lost without it}, of the modalities that a system was scored without."""
    scored = {name.removeprefix("only:"): value for name, value in by_condition.items() if name.startswith("only:")}
    used = [modality for modality in MODALITIES if any(modality in name.split("+") for name in scored)]
    others = {modality: "+".join(each for each in used if each != modality) for modality in used}
    return {modality: by_condition[FULL] - scored[rest] for modality, rest in others.items() if rest in scored}


def equity(lost: Mapping[str, float]) -> float:
    """1 if all modalities are equally needed, 0 if a single one is; NaN if none is, or without two losses."""
    values = np.sort(np.maximum(list(lost.values()), 0.0))
    count = len(values)
    if count < 2 or not values.sum() > 0:
        return np.nan
    ranks = np.arange(1, count + 1)
    gini = (2 * ranks - count - 1) @ values / (count * values.sum())
    return float(1 - gini * count / (count - 1))

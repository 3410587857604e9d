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
    only = {
        name: frozenset(name.removeprefix("only:").split("+")) for name in by_condition if name.startswith("only:")
    }
    scored = {kept: by_condition[name] for name, kept in only.items()}
    is_pair = any(len(kept) > 1 for kept in scored)  # a proper subset: the system has all three
    used = frozenset(MODALITIES) if is_pair else frozenset().union(*scored)
    return {
        modality: by_condition[FULL] - scored[used - {modality}]
        for modality in MODALITIES
        if modality in used and used - {modality} in scored
    }


def equity(lost: Mapping[str, float]) -> float:
    """1 if all modalities are equally needed, 0 if a single one is; NaN if none is, or without two losses."""
    values = np.sort(np.maximum(list(lost.values()), 0.0))
    count = len(values)
    if count < 2 or not values.sum() > 0:
        return np.nan
    ranks = np.arange(1, count + 1)
    gini = (2 * ranks - count - 1) @ values / (count * values.sum())
    return float(1 - gini * count / (count - 1))

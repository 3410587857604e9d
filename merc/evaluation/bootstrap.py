"""95 % bootstrap intervals: how much a score varies with the test dialogues and the training seeds.

Cluster bootstrap (Field and Welsh, 2007, doi:10.1111/j.1467-9868.2007.00593.x): utterances of a dialogue are
not independent, so whole groups are drawn. A draw is a weight per group, which multiplies the group's confusion
matrix, or the sums that another kind of task is scored by; no rows are copied.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from merc.training.core import scores

LEVEL = 0.95
Summarise = Callable[[np.ndarray], dict[str, np.ndarray]]


class Draws(NamedTuple):
    """R rounds: how often each group and each training seed is drawn."""

    groups: np.ndarray  # (R, G)
    seeds: np.ndarray  # (R, S), rows sum to 1


def draw(groups: int, seeds: int, rounds: int, seed: int) -> Draws:
    """Draw `groups` groups and `seeds` seeds with replacement in every round."""
    generator = np.random.default_rng(seed)
    return Draws(_multiplicities(generator, groups, rounds), _multiplicities(generator, seeds, rounds) / seeds)


def _multiplicities(generator: np.random.Generator, count: int, rounds: int) -> np.ndarray:
    """(rounds, count) how often each item is drawn."""
    if not count:
        return np.zeros((rounds, 0))
    return generator.multinomial(count, np.full(count, 1 / count), size=rounds).astype(float)


def replicate(counts: np.ndarray, draws: Draws, summarise: Summarise = scores.summarise) -> dict[str, np.ndarray]:
    """{score: (R,)} of every round, from (S, K, G, C, C) counts: means over the drawn seeds and all K blocks.

    `summarise` scores the sums of a task of another kind (merc/training/core/task_scores.py).
    """
    by_seed = summarise(weighted_sums(counts, draws.groups))
    return {name: (value.mean(2) * draws.seeds).sum(1) for name, value in by_seed.items()}


def replicate_classes(counts: np.ndarray, draws: Draws, per_class: Summarise = scores.per_class) -> np.ndarray:
    """(R, C) the F1 of every class in every round."""
    f1 = per_class(weighted_sums(counts, draws.groups))["f1"]
    return (f1.mean(2) * draws.seeds[:, :, None]).sum(1)


def weighted_sums(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, S, K, ...) sums over groups of (S, K, G, ...) counts, in each round by its weights (R, G)."""
    seeds, blocks, groups, *shape = counts.shape
    flat = np.moveaxis(counts, 2, 0).reshape(groups, seeds * blocks * math.prod(shape))
    return (weights @ flat).reshape(-1, seeds, blocks, *shape)


def interval(replicates: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval that contains `level` of the rounds; rounds with an undefined score are left out."""
    defined = replicates[np.isfinite(replicates)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

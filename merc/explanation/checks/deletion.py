"""Faithfulness by deletion and insertion: does the prediction fall faster without the top parts than at random?"""

import hashlib
from typing import cast

import numpy as np
import pandas as pd
import torch

from merc.explanation.counterfactual import probability
from merc.explanation.methods import shapley
from merc.explanation.methods.part_attribution import Case

# F fractions of an utterance's parts that are deleted; symmetric, so that insertion has the same fractions
FRACTIONS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
MEASURES = ("deletion", "insertion", "comprehensiveness", "sufficiency")
# fractions whose mean is comprehensiveness and sufficiency, as in ERASER
COUNTED_FRACTIONS = tuple(index for index, fraction in enumerate(FRACTIONS) if 0 < fraction <= 0.5)
CONFIDENCE_LEVEL = 0.95
BOOTSTRAP_SAMPLES = 2000


def random_scores(names: list[str], counts: np.ndarray, order: int, seed: int) -> np.ndarray:
    """(N, P) scores in a random order that is seeded by each utterance's name."""
    scores = np.full((len(counts), int(counts.max())), np.nan)
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        digest = hashlib.sha256(f"{seed}/{order}/{name}".encode()).digest()
        scores[row, :count] = np.random.default_rng(list(digest)).random(count)
    return scores


def deletion_curves(case: Case, scores: list[np.ndarray]) -> np.ndarray:
    """(K, N, F) probability of the emotion with the highest parts of each of K scores (N, P) blanked."""
    ranks, inner = [_ranks(score) for score in scores], FRACTIONS[1:-1]
    removed = [_removed(case, rank, fraction) for rank in ranks for fraction in inner]
    # the ends are the same in every order
    ends = [_removed(case, ranks[0], fraction) for fraction in (FRACTIONS[0], FRACTIONS[-1])]
    first, *between, last = _probabilities_without(case, [ends[0], *removed, ends[1]])
    between = np.array(between).reshape(len(ranks), len(inner), -1)
    first, last = (np.broadcast_to(end, (len(ranks), 1, len(end))) for end in (first, last))
    return np.concatenate([first, between, last], 1).transpose(0, 2, 1)


def insertion_curves(backwards: np.ndarray) -> np.ndarray:
    """Insertion curves (..., F) from the blank utterance on: reversed deletion curves of the reverse order."""
    return backwards[..., ::-1]


def area_under_curves(curves: np.ndarray) -> np.ndarray:
    """Area under curves (..., F), by trapezoids."""
    return cast("np.ndarray", np.trapezoid(curves, FRACTIONS, axis=-1))


def bootstrap_lower_bound(gains: np.ndarray, groups: np.ndarray, seed: int) -> float:
    """Lower end of the 95 % bootstrap interval of the mean gain (N,), resampling groups; NaN without gains."""
    names, numbers = np.unique(groups, return_inverse=True)
    if not len(names):
        return np.nan
    sums, sizes = np.bincount(numbers, gains), np.bincount(numbers)
    count = len(names)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=BOOTSTRAP_SAMPLES)
    return float(np.quantile(draws @ sums / (draws @ sizes), (1 - CONFIDENCE_LEVEL) / 2))


def part_measures(deletion: np.ndarray, insertion: np.ndarray) -> pd.DataFrame:
    """MEASURES of each utterance from its deletion and insertion curves (N, F)."""
    counted = list(COUNTED_FRACTIONS)
    return pd.DataFrame(
        {
            "deletion": area_under_curves(deletion),
            "insertion": area_under_curves(insertion),
            "comprehensiveness": deletion[:, 0] - deletion[:, counted].mean(1),
            "sufficiency": insertion[:, -1] - insertion[:, counted].mean(1),
        }
    )


def modality_measures(v: np.ndarray, scores: np.ndarray, present: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """MEASURES of each utterance in the order of the scores (N, M), and exactly in expectation over random orders.

    `v` (N, 2^M): probability under every coalition. Comprehensiveness and sufficiency are of the top modality.
    """
    deletion, random = shapley.removal_curves(v, scores, present)
    insertion = [curve[::-1] for curve in shapley.removal_curves(v, -scores, present)[0]]
    return _of_curves(deletion, insertion), _of_curves(random, [curve[::-1] for curve in random])


def faithfulness_metrics(
    measured: dict[str, tuple[pd.DataFrame, pd.DataFrame]], groups: np.ndarray, seed: int
) -> dict[str, float]:
    """Metrics of each method from its measures and those of a random order.

    `_deletion` is the random order's area minus the method's, `_insertion` the method's minus the random order's:
    positive is better in both; `_low` are their paired lower bounds.
    """
    metrics = {}
    for method, (measures, random) in measured.items():
        gains = {
            "deletion": random["deletion"] - measures["deletion"],
            "insertion": measures["insertion"] - random["insertion"],
        }
        for name, gain in gains.items():
            metrics[f"{method}_{name}"] = gain.mean()
            metrics[f"{method}_{name}_low"] = bootstrap_lower_bound(gain.to_numpy(), groups, seed)
        metrics |= {f"{method}_{name}": measures[name].mean() for name in MEASURES[2:]}
    return metrics


def _ranks(scores: np.ndarray) -> np.ndarray:
    """(N, P) 0 for the highest score of a row; NaN comes last."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def _removed(case: Case, ranks: np.ndarray, fraction: float) -> np.ndarray:
    """(N, P) bool: the top-ranked fraction of each utterance's parts."""
    return ranks < np.round(fraction * case.parts.counts)[:, None]


def _probabilities_without(case: Case, removed: list[np.ndarray]) -> np.ndarray:
    """(len(removed), N) probability of the emotion without each of these sets of parts (N, P)."""
    rows = case.probe.rows.repeat(len(removed))
    logits = case.emotion_logits_without(rows, torch.from_numpy(np.concatenate(removed)).to(rows.device))
    return probability(logits, case.emotion[rows]).view(len(removed), -1).numpy()


def _of_curves(deletion: list[np.ndarray], insertion: list[np.ndarray]) -> pd.DataFrame:
    """MEASURES from deletion and insertion curves whose lengths differ between utterances."""
    rows = [
        [
            shapley.curve_area(falling),
            shapley.curve_area(growing),
            falling[0] - falling[min(1, len(falling) - 1)],
            growing[-1] - growing[min(1, len(growing) - 1)],
        ]
        for falling, growing in zip(deletion, insertion, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(MEASURES))

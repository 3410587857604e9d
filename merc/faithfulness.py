"""Does the prediction fall when what an explanation names is taken away, and faster than in a random order?"""

import hashlib

import numpy as np
import torch

from merc.attribution import Case
from merc.probe import probability

# of an utterance's parts, taken away one after another; symmetric, so that what is left has the same shares
SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
LEVEL = 0.95
ROUNDS = 2000


def random_scores(names: list[str], counts: np.ndarray, order: int, seed: int) -> np.ndarray:
    """(N, P) scores in a random order that follows from each utterance's name."""
    scores = np.full((len(counts), int(counts.max())), np.nan)
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        digest = hashlib.sha256(f"{seed}/{order}/{name}".encode()).digest()
        scores[row, :count] = np.random.default_rng(list(digest)).random(count)
    return scores


def deletion(case: Case, scores: list[np.ndarray]) -> np.ndarray:
    """(K, N, SHARES) probability of the emotion once the parts with the highest of each (N, P) scores are blank."""
    ranks, inner = [_ranks(own) for own in scores], SHARES[1:-1]
    gone = [_gone(case, own, share) for own in ranks for share in inner]
    ends = [_gone(case, ranks[0], share) for share in (SHARES[0], SHARES[-1])]  # the same in every order
    first, *found, last = _after(case, [ends[0], *gone, ends[1]])
    between = np.array(found).reshape(len(ranks), len(inner), -1)
    first, last = (np.broadcast_to(one, (len(ranks), 1, len(one))) for one in (first, last))
    return np.concatenate([first, between, last], 1).transpose(0, 2, 1)


def insertion(backwards: np.ndarray) -> np.ndarray:
    """(..., SHARES) while parts are shown from the blank on: deletion in the reverse order, read backwards."""
    return backwards[..., ::-1]


def area(curves: np.ndarray) -> np.ndarray:
    """Under curves (..., SHARES) over the share that is gone, by trapezoids."""
    return np.trapezoid(curves, SHARES, axis=-1)


def lower_bound(gains: np.ndarray, groups: np.ndarray, seed: int) -> float:
    """The lower end of the 95 % interval of the mean gain (N,), groups drawn anew; NaN without gains."""
    names, numbers = np.unique(groups, return_inverse=True)
    if not len(names):
        return np.nan
    sums, sizes = np.bincount(numbers, gains), np.bincount(numbers)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=ROUNDS)
    return float(np.quantile(draws @ sums / (draws @ sizes), (1 - LEVEL) / 2))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """(N, P) 0 for the highest score of a row; NaN comes last."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def _gone(case: Case, ranks: np.ndarray, share: float) -> np.ndarray:
    return ranks < np.round(share * case.parts.counts)[:, None]


def _after(case: Case, gone: list[np.ndarray]) -> np.ndarray:
    """(len(gone), N) probability without each of these sets of parts (N, P)."""
    rows = case.probe.rows.repeat(len(gone))
    logits = case.without(rows, torch.from_numpy(np.concatenate(gone)).to(rows.device))
    return probability(logits, case.emotion[rows]).view(len(gone), -1).numpy()

"""Exact Shapley values of a small cooperative game, from the values v (N, 2^M) of all coalitions in N games."""

from math import factorial

import numpy as np


def coalitions(players: int) -> np.ndarray:
    """(2^M, M) bool: row s is the coalition whose members are the bits of s; row 0 is empty, the last one full."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def restrict_to_present(v: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(N, 2^M) values to which absent players add exactly nothing: that of each coalition's present (N, M) part."""
    codes = present @ (1 << np.arange(present.shape[1]))
    return np.take_along_axis(v, np.arange(v.shape[1])[None, :] & codes[:, None], axis=1)


def values(v: np.ndarray) -> np.ndarray:
    """phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)); (N, 2^M) -> (N, M).

    Shapley 1953. They sum to v(all) - v(none).
    """
    players = v.shape[1].bit_length() - 1
    codes, phi = np.arange(v.shape[1]), np.zeros((len(v), players))
    sizes = coalitions(players).sum(1)
    weights = np.array([factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)])
    for player in range(players):
        without = codes[codes >> player & 1 == 0]
        phi[:, player] = (v[:, without | 1 << player] - v[:, without]) @ weights[sizes[without]]
    return phi


Curves = list[np.ndarray]


def removal_curves(v: np.ndarray, scores: np.ndarray, present: np.ndarray) -> tuple[Curves, Curves]:
    """Per row, the coalition values while present players leave, from all to none: by score, and in random order.

    Random order is the exact expectation: the mean over all orders is the mean over the coalitions of each size.
    """
    by_score, by_chance = [], []
    for row, is_present in enumerate(present):
        members = np.flatnonzero(is_present)
        leaving = members[np.argsort(-scores[row, members], kind="stable")]
        code = int(sum(1 << int(member) for member in members))
        by_score.append(v[row, [code] + [code := code & ~(1 << int(member)) for member in leaving]])
        by_chance.append(_mean_by_size(v[row], members))
    return by_score, by_chance


def _mean_by_size(v: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(|members| + 1,) mean value of the coalitions of the members, from all of them to none."""
    codes = coalitions(len(members)) @ (1 << members)
    sizes = coalitions(len(members)).sum(1)
    return np.array([v[codes[sizes == size]].mean() for size in range(len(members), -1, -1)])


def curve_area(curve: np.ndarray) -> float:
    """Area under a curve from 0 to 1, by trapezoids; the area of a single point is its value."""
    return float((curve[1:] + curve[:-1]).mean() / 2) if len(curve) > 1 else float(curve[0])

"""Exact Shapley values of a handful of players, from what every coalition is worth."""

from math import factorial

import numpy as np


def coalitions(players: int) -> np.ndarray:
    """(2^M, M) bool: row s is the coalition whose members are the bits of s; row 0 is empty, the last one full."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def only_present(worth: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(N, 2^M): who is absent adds nothing, exactly: a coalition is worth what its present (N, M) members are."""
    codes = present @ (1 << np.arange(present.shape[1]))
    return np.take_along_axis(worth, np.arange(worth.shape[1])[None, :] & codes[:, None], axis=1)


def values(worth: np.ndarray) -> np.ndarray:
    """phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)); (N, 2^M) -> (N, M).

    Shapley 1953. They sum to v(all) - v(none).
    """
    players = worth.shape[1].bit_length() - 1
    codes, phi = np.arange(worth.shape[1]), np.zeros((len(worth), players))
    sizes = coalitions(players).sum(1)
    weight = np.array([factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)])
    for player in range(players):
        without = codes[codes >> player & 1 == 0]
        phi[:, player] = (worth[:, without | 1 << player] - worth[:, without]) @ weight[sizes[without]]
    return phi


Paths = list[np.ndarray]


def paths(worth: np.ndarray, scores: np.ndarray, present: np.ndarray) -> tuple[Paths, Paths]:
    """Per row, the worth while the present players leave, from all to none: by their scores, in any order.

    Any order is the mean over all orders, exactly: the mean over the coalitions of each size.
    """
    own, every = [], []
    for row, here in enumerate(present):
        members = np.flatnonzero(here)
        leaving = members[np.argsort(-scores[row, members], kind="stable")]
        code = int(sum(1 << int(m) for m in members))
        own.append(worth[row, [code] + [code := code & ~(1 << int(m)) for m in leaving]])
        every.append(_by_size(worth[row], members))
    return own, every


def _by_size(worth: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(|members| + 1,) mean worth of the coalitions of the members, from all of them to none."""
    codes = coalitions(len(members)) @ (1 << members)
    sizes = coalitions(len(members)).sum(1)
    return np.array([worth[codes[sizes == size]].mean() for size in range(len(members), -1, -1)])


def area(curve: np.ndarray) -> float:
    """Under a curve from 0 to 1, by trapezoids; a single point is its own area."""
    return float((curve[1:] + curve[:-1]).mean() / 2) if len(curve) > 1 else float(curve[0])

"""The utterances of the gallery: one right, one wrong, the least certain one, and one of every emotion."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from merc import explain_one, inputs, tokenshap
from merc.batches import Split
from merc.gallery import Shown


def choose(shares: np.ndarray, actual: np.ndarray, order: tuple[str, ...]) -> list[tuple[int, str]]:
    """(row, why it is there) from the probabilities (N, C) and the labels (N,); -1 is no label. Each row once."""
    sure, predicted = shares.max(1), shares.argmax(1)
    right, wrong = predicted == actual, (actual >= 0) & (predicted != actual)
    wanted = [("surest that is right", right, sure), ("surest that is wrong", wrong, sure)]
    wanted += [("least certain", np.ones(len(sure), bool), -sure)]
    wanted += [(f"surest {name}", right & (actual == number), sure) for number, name in enumerate(order)]
    picks: dict[int, str] = {}
    for why, among, score in wanted:
        rows = [row for row in np.flatnonzero(among) if row not in picks]
        if rows:
            picks[int(rows[int(np.argmax(score[rows]))])] = why
    return list(picks.items())


def show(network: Any, split: str, seen: Split, picks: list[tuple[int, str]]) -> list[Shown]:
    """Every reason that the network and its encoders have for each row, but for SHAP of its tokens."""
    return [
        Shown(why, rows, own, mine, explain_one.explain(network, batch, own, mine, coders))
        for why, rows, own, mine, batch, coders in _asked(split, seen, picks)
    ]


def tokens(network: Any, split: str, seen: Split, picks: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """SHAP of each row's tokens."""
    return [
        tokenshap.explain(network, batch, own, mine, coders)
        for _, _, own, mine, batch, coders in _asked(split, seen, picks)
    ]


def join(shown: list[Shown], more: list[dict[str, Any]]) -> list[Shown]:
    """What was found of the first ones, completed."""
    return [replace(one, found=one.found | own) for one, own in zip_longest(shown, more, fillvalue={})]


def _asked(split: str, seen: Split, picks: list[tuple[int, str]]) -> Iterator[tuple]:
    """Of each pick: why, its dialogue's rows, its place in them, its inputs, a batch, the encoders."""
    starts, coders = seen.starts.cpu().numpy(), {}
    for row, why in picks:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        rows = np.arange(starts[number], starts[number + 1])
        own, corpus = row - int(starts[number]), seen.manifest["corpus"].iloc[row]
        coders.setdefault(corpus, inputs.behind(corpus, seen))
        raw = inputs.given(split, corpus, seen, rows, coders[corpus])
        mine = {modality: one[own] for modality, one in raw.items()}
        yield why, seen.manifest.iloc[rows], own, mine, seen.batch([number]), coders[corpus]

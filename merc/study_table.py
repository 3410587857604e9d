"""Cells and tables of the studies' page."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import stdtrit  # scipy.stats would take a second to load


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(one)} |" for one in cells]


def interval(score: dict[str, float | None]) -> str:
    """A mean and, where it has one, its interval."""
    around = "" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return number(score["mean"]) + around


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is not known."""
    return "-" if value is None else f"{value:.3f}"


def gain(own: dict[str, float], first: dict[str, float]) -> str:
    """Mean difference over the seeds that both have, and its 95 % interval by Student's t."""
    both = [seed for seed in own if seed in first]
    gains = np.array([own[seed] - first[seed] for seed in both])
    if own == first or len(gains) < 2:
        return "-"
    half = half_width(gains)
    return f"{gains.mean():+.3f} [{gains.mean() - half:+.3f}, {gains.mean() + half:+.3f}]"


def half_width(values: np.ndarray) -> float:
    """Of the 95 % interval of a mean over seeds, by Student's t; 0 for one seed, which has none."""
    count = len(values)
    return float(stdtrit(count - 1, 0.975) * values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0

"""Formats of the cells of docs/results.md."""

import numpy as np
from scipy import stats


def format_interval(score: dict[str, float | None]) -> str:
    """A mean, followed by its interval if it has one."""
    bounds = "" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return format_number(score["mean"]) + bounds


def format_number(value: float | None) -> str:
    """Three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def format_paired_gain(scores: dict[str, float], reference: dict[str, float]) -> str:
    """Mean paired difference to the reference over the common seeds, and its 95 % interval by Student's t."""
    common_seeds = [seed for seed in scores if seed in reference]
    differences = np.array([scores[seed] - reference[seed] for seed in common_seeds])
    if scores == reference or len(differences) < 2:
        return "-"
    mean, half = differences.mean(), half_width(differences)
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def half_width(values: np.ndarray) -> float:
    """Half width of the 95 % interval of a mean over seeds, by Student's t; 0 for a single seed."""
    count = len(values)
    return float(stats.t.ppf(0.975, count - 1) * stats.sem(values)) if count > 1 else 0.0

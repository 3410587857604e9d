"""Rectangles in a picture: left, top, width, height."""

from collections.abc import Sequence


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union, 0 to 1."""
    left, top, width, height = map(float, one)  # numpy would take ten times as long for so few numbers
    across, down, wide, high = map(float, other)
    shared = _common(left, width, across, wide) * _common(top, height, down, high)
    return shared / (width * height + wide * high - shared)


def _common(begin: float, length: float, other: float, long: float) -> float:
    return max(min(begin + length, other + long) - max(begin, other), 0.0)

"""Rectangles in a picture: left, top, width, height."""

import numpy as np


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union, 0 to 1."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    return shared / float(np.prod(one[2:]) + np.prod(other[2:]) - shared)

"""Named random generators: the draws of one utterance depend on its id only, not on earlier draws."""

import hashlib

import numpy as np


def named_generator(*names: object) -> np.random.Generator:
    """Random generator seeded by these names, say (seed, split, dialogue, utterance, purpose)."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def pick(random: np.random.Generator, options):
    """Draw one of the options uniformly."""
    return options[int(random.integers(len(options)))]


def clipped_normal(random: np.random.Generator, spread: float) -> float:
    """Draw from a normal distribution with mean 0 and standard deviation `spread`, clipped to two of them."""
    return float(np.clip(random.normal(0.0, spread), -2 * spread, 2 * spread))

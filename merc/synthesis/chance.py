"""Randomness by name: what is drawn for one utterance depends on its id and on nothing drawn before."""

import hashlib

import numpy as np


def generator(*names: object) -> np.random.Generator:
    """The generator of this name, say (seed, split, dialogue, utterance, what)."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def pick(random: np.random.Generator, options):
    """One of the options, all equally likely."""
    return options[int(random.integers(len(options)))]


def near(random: np.random.Generator, spread: float) -> float:
    """A number around 0, never further away than twice the spread."""
    return float(np.clip(random.normal(0.0, spread), -2 * spread, 2 * spread))

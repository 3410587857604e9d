"""Facial expressions of the emotions: brows, eyes, nose and mouth; 0 is a face at rest."""

from dataclasses import dataclass

import numpy as np

from merc.corpora.synthesis.plan.randomness import clipped_normal


@dataclass(frozen=True)
class Expression:
    """A facial expression; lengths in units of half a face's height, openings of mouth and lids from 0 to 1."""

    brow_inner: float = 0.0  # raised by this much at the nose
    brow_outer: float = 0.0  # and at the temples
    brow_close: float = 0.0  # moved towards the nose
    lids: float = 0.55  # opening of the eyes
    lower_lids: float = 0.0  # pushed up
    corners: float = 0.02  # of the mouth, raised
    mouth: float = 0.30  # half of its width
    opening: float = 0.0
    teeth: float = 0.0
    upper_lip: float = 0.0  # raised, more on one side
    wrinkle: float = 0.0  # darkness of the folds of nose and forehead
    cheeks: float = 0.0  # raised and coloured


EXPRESSIONS = {
    "neutral": Expression(),
    "joy": Expression(0.02, 0.03, 0, 0.45, 0.10, 0.17, 0.40, 0.22, 1.0, 0, 0, 1.0),
    "surprise": Expression(0.17, 0.17, 0, 1.0, 0, -0.02, 0.19, 0.60, 0, 0, 0.5, 0),
    "anger": Expression(-0.13, 0.05, 0.05, 0.50, 0.05, -0.07, 0.26, 0.0, 0, 0, 0.9, 0),
    "sadness": Expression(0.13, -0.07, 0.03, 0.34, 0, -0.15, 0.27, 0.0, 0, 0, 0.4, 0),
    "disgust": Expression(-0.08, -0.05, 0.02, 0.30, 0.12, -0.08, 0.29, 0.10, 0.7, 0.10, 1.0, 0.6),
    "fear": Expression(0.16, 0.07, 0.05, 0.90, 0, -0.10, 0.38, 0.20, 0.8, 0, 0.6, 0),
}


def draw_expression(emotion: str, random: np.random.Generator) -> Expression:
    """Draw the expression of an emotion, with random strength and variation."""
    rest, full, strength = EXPRESSIONS["neutral"], EXPRESSIONS[emotion], random.uniform(0.65, 1.1)
    mixed = {name: value + strength * (getattr(full, name) - value) for name, value in vars(rest).items()}
    for name, spread in (("brow_inner", 0.012), ("brow_outer", 0.012), ("lids", 0.05), ("corners", 0.015)):
        mixed[name] += clipped_normal(random, spread)
    return Expression(**mixed)

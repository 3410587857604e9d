"""Prosody of the emotions: rate, pitch, loudness and timbre of a voice."""

from dataclasses import dataclass

import numpy as np

from merc.corpora.synthesis.plan.randomness import clipped_normal


@dataclass(frozen=True)
class Prosody:
    """A manner of speaking; pitch and span on espeak-ng's scale of 0-100, gain in dB, tilt in dB per octave."""

    rate: float  # words per minute
    pitch: float  # added to the speaker's
    span: float  # range of the intonation
    gain: float
    tilt: float  # of the spectrum; above 0: sharper, below: duller
    middle: float = 0.0  # gain in dB around MIDDLE_HERTZ; below 0: hollow, nasal
    tremble: float = 0.0  # depth of amplitude modulation at TREMBLE_HERTZ
    rough: float = 0.0  # depth of amplitude modulation at ROUGH_HERTZ
    breath: float = 0.0  # level of noise that follows the voice's envelope
    onset: float = 1.0  # playback speed at the beginning and at the end, interpolated: the pitch glides
    close: float = 1.0


PROSODY = {
    "neutral": Prosody(196, 0, 45, 0, 0),
    "joy": Prosody(236, 20, 85, 3, 1.6, onset=1.03, close=1.09),
    "surprise": Prosody(200, 20, 95, 0, -0.2, middle=4, breath=0.08, onset=0.82, close=1.34),
    "anger": Prosody(224, -3, 60, 6, 2.6, rough=0.35),
    "sadness": Prosody(160, -16, 15, -5, -2.6, breath=0.1, onset=1.04, close=0.88),
    "disgust": Prosody(156, -14, 80, 0, -0.8, middle=-9, rough=0.85, onset=0.98, close=0.86),
    "fear": Prosody(246, 22, 20, -3, 0.2, tremble=0.65, breath=0.18),
}
TREMBLE_HERTZ, ROUGH_HERTZ, MIDDLE_HERTZ = 7.5, 38.0, 1300.0


def draw_prosody(emotion: str, random: np.random.Generator) -> Prosody:
    """Draw the prosody of an emotion, with random strength and variation."""
    neutral, full, strength = PROSODY["neutral"], PROSODY[emotion], random.uniform(0.75, 1.1)
    mixed = {name: value + strength * (getattr(full, name) - value) for name, value in vars(neutral).items()}
    mixed["rate"] *= 1.0 + clipped_normal(random, 0.06)
    for name, spread in (("pitch", 4.0), ("span", 9.0), ("gain", 2.0), ("tilt", 0.5), ("middle", 1.5)):
        mixed[name] += clipped_normal(random, spread)
    return Prosody(**mixed)

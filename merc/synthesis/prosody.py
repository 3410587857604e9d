"""How an emotion sounds: what it does to the rate, pitch, loudness and timbre of a voice."""

from dataclasses import dataclass

import numpy as np

from merc.synthesis.chance import near


@dataclass(frozen=True)
class Prosody:
    """One way of speaking; pitch and span are espeak-ng's 0-100, gain is in dB, tilt in dB an octave."""

    rate: float  # words a minute
    pitch: float  # added to the speaker's own
    span: float  # of the intonation
    gain: float
    tilt: float  # above 0: sharper, below: duller
    middle: float = 0.0  # dB around MIDDLE_HERTZ: below 0 hollow, through the nose
    tremble: float = 0.0  # depth of a slow swelling, TREMBLE_HERTZ
    rough: float = 0.0  # depth of a fast one, ROUGH_HERTZ
    breath: float = 0.0  # noise that follows the voice
    onset: float = 1.0  # speed of playing at the beginning and at the end: the pitch glides between them
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


def prosody(emotion: str, random: np.random.Generator) -> Prosody:
    """The emotion's way of speaking, more or less strong, and a little different every time."""
    neutral, full, strength = PROSODY["neutral"], PROSODY[emotion], random.uniform(0.75, 1.1)
    mixed = {name: value + strength * (getattr(full, name) - value) for name, value in vars(neutral).items()}
    mixed["rate"] *= 1.0 + near(random, 0.06)
    for name, spread in (("pitch", 4.0), ("span", 9.0), ("gain", 2.0), ("tilt", 0.5), ("middle", 1.5)):
        mixed[name] += near(random, spread)
    return Prosody(**mixed)

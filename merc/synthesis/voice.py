"""A spoken sentence with its pauses, and how far the mouth opens with it."""

import cv2
import numpy as np

from merc.synthesis.cast import Person
from merc.synthesis.espeak import RATE, speak
from merc.synthesis.prosody import MIDDLE_HERTZ, ROUGH_HERTZ, TREMBLE_HERTZ, Prosody, prosody

FRAMES = 25  # pictures a second
STEP = RATE // FRAMES  # samples a picture
LOUDNESS = 0.07  # root mean square of a neutral voice
FLOOR = 0.0015  # of the room's noise
BREATH_SMOOTHING, BLOCK = 301, 4096  # samples
LOWEST_HERTZ = 80.0  # where the tilt of the spectrum begins
LEVELS = 8  # mouth openings that are drawn, besides shut


def utter(text: str, person: Person, emotion: str, random: np.random.Generator) -> np.ndarray:
    """(samples,) float32: the sentence with a short pause before and after, a whole number of pictures long."""
    manner = prosody(emotion, random)
    spoken = _voice(text, person, manner, random)
    before, after = (random.uniform(0.08, 0.26, 2) * RATE).astype(int)
    total = -(-(before + len(spoken) + after) // STEP) * STEP
    sound = random.normal(0.0, FLOOR * random.uniform(0.4, 2.0), total)
    sound[before : before + len(spoken)] += spoken
    return np.clip(sound, -0.99, 0.99).astype(np.float32)


def mouth(sound: np.ndarray) -> np.ndarray:
    """(pictures,) how far the mouth opens, 0 to 1 in steps that are drawn, with the loudness of the sound."""
    loudness = np.sqrt(np.mean(sound.reshape(-1, STEP) ** 2, axis=1))
    opening = np.clip(loudness / np.percentile(loudness, 92), 0.0, 1.0) ** 0.8
    opening[loudness < 4 * FLOOR] = 0.0
    return np.round(opening * LEVELS) / LEVELS


def _voice(text: str, person: Person, manner: Prosody, random: np.random.Generator) -> np.ndarray:
    said = speak(text, person.voice, rate=manner.rate, pitch=person.pitch + manner.pitch, span=manner.span)
    loud = np.flatnonzero(np.abs(said) > 0.01)
    said = _colour(_glide(said[loud[0] : loud[-1] + 1], manner), manner)
    said = said * _swell(len(said), manner, random) + _breath(said, manner, random)
    return said * LOUDNESS * 10 ** (manner.gain / 20) / np.sqrt(np.mean(said**2))


def _glide(sound: np.ndarray, manner: Prosody) -> np.ndarray:
    """Play it at a speed that changes: pitch and formants rise or fall over the sentence."""
    speed = np.linspace(manner.onset, manner.close, len(sound))
    places = np.cumsum(speed)
    return np.interp(np.arange(1, places[-1]), places, sound)


def _colour(sound: np.ndarray, manner: Prosody) -> np.ndarray:
    """Tilt the spectrum and raise or lower its middle, an octave wide."""
    size = -(-len(sound) // BLOCK) * BLOCK  # a Fourier transform of a prime length is slow
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / RATE), LOWEST_HERTZ)
    decibels = manner.tilt * np.log2(hertz / 1000.0)
    decibels += manner.middle * np.exp(-2 * np.log2(hertz / MIDDLE_HERTZ) ** 2)
    return np.fft.irfft(np.fft.rfft(sound, size) * 10 ** (decibels / 20), size)[: len(sound)]


def _swell(length: int, manner: Prosody, random: np.random.Generator) -> np.ndarray:
    time = np.arange(length) / RATE
    slow, fast = (np.sin(2 * np.pi * (hertz * time + random.random())) for hertz in (TREMBLE_HERTZ, ROUGH_HERTZ))
    return (1 + np.clip(manner.tremble, 0, 0.9) * slow) * (1 + np.clip(manner.rough, 0, 0.9) * fast)


def _breath(sound: np.ndarray, manner: Prosody, random: np.random.Generator) -> np.ndarray:
    follows = cv2.blur(np.abs(sound)[None], (BREATH_SMOOTHING, 1))[0]
    return manner.breath * follows * random.normal(0.0, 2.0, len(sound))

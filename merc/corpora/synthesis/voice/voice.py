"""Synthesis of a spoken sentence with emotional prosody, and of the mouth opening that goes with it."""

from dataclasses import dataclass

import cv2
import numpy as np

from merc.corpora.synthesis.plan.cast import Person
from merc.corpora.synthesis.plan.randomness import clipped_normal
from merc.corpora.synthesis.voice.espeak import ESPEAK_RATE, speak

FRAME_RATE = 25  # video frames per second
SAMPLES_PER_FRAME = ESPEAK_RATE // FRAME_RATE  # audio samples per video frame
LOUDNESS = 0.07  # root mean square of a neutral voice
NOISE_LEVEL = 0.0015  # standard deviation of the background noise
BREATH_SMOOTHING, BLOCK = 301, 4096  # samples
LOWEST_HERTZ = 80.0  # the spectral tilt applies above this frequency
MOUTH_LEVELS = 8  # number of mouth openings, besides shut


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


def synthesise_voice(text: str, person: Person, emotion: str, random: np.random.Generator) -> np.ndarray:
    """(samples,) float32: the sentence with a short pause before and after, a whole number of video frames long."""
    manner = draw_prosody(emotion, random)
    speech = _voice(text, person, manner, random)
    pause_before, pause_after = (random.uniform(0.08, 0.26, 2) * ESPEAK_RATE).astype(int)
    length = -(-(pause_before + len(speech) + pause_after) // SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME
    sound = random.normal(0.0, NOISE_LEVEL * random.uniform(0.4, 2.0), length)
    sound[pause_before : pause_before + len(speech)] += speech
    return np.clip(sound, -0.99, 0.99).astype(np.float32)


def mouth_opening(sound: np.ndarray) -> np.ndarray:
    """(frames,) mouth opening from the loudness of the sound, 0 to 1 in steps of an eighth."""
    loudness = np.sqrt(np.mean(sound.reshape(-1, SAMPLES_PER_FRAME) ** 2, axis=1))
    opening = np.clip(loudness / np.percentile(loudness, 92), 0.0, 1.0) ** 0.8
    opening[loudness < 4 * NOISE_LEVEL] = 0.0
    return np.round(opening * MOUTH_LEVELS) / MOUTH_LEVELS


def _voice(text: str, person: Person, manner: Prosody, random: np.random.Generator) -> np.ndarray:
    """Speech with the prosody applied, silence trimmed, scaled to its loudness."""
    speech = speak(text, person.voice, rate=manner.rate, pitch=person.pitch + manner.pitch, span=manner.span)
    loud = np.flatnonzero(np.abs(speech) > 0.01)
    speech = _equalise(_glide(speech[loud[0] : loud[-1] + 1], manner), manner)
    speech = speech * _modulation(len(speech), manner, random) + _breath(speech, manner, random)
    return speech * LOUDNESS * 10 ** (manner.gain / 20) / np.sqrt(np.mean(speech**2))


def _glide(sound: np.ndarray, manner: Prosody) -> np.ndarray:
    """Resample at a changing speed: pitch and formants rise or fall over the sentence."""
    speed = np.linspace(manner.onset, manner.close, len(sound))
    times = np.cumsum(speed)
    return np.interp(np.arange(1, times[-1]), times, sound)


def _equalise(sound: np.ndarray, manner: Prosody) -> np.ndarray:
    """Tilt the spectrum and raise or lower its middle, an octave wide."""
    size = -(-len(sound) // BLOCK) * BLOCK  # a Fourier transform of a prime length is slow
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / ESPEAK_RATE), LOWEST_HERTZ)
    decibels = manner.tilt * np.log2(hertz / 1000.0)
    decibels += manner.middle * np.exp(-2 * np.log2(hertz / MIDDLE_HERTZ) ** 2)
    return np.fft.irfft(np.fft.rfft(sound, size) * 10 ** (decibels / 20), size)[: len(sound)]


def _modulation(length: int, manner: Prosody, random: np.random.Generator) -> np.ndarray:
    """Amplitude modulation: slow (tremble) and fast (rough), with random phases."""
    time = np.arange(length) / ESPEAK_RATE
    slow, fast = (np.sin(2 * np.pi * (hertz * time + random.random())) for hertz in (TREMBLE_HERTZ, ROUGH_HERTZ))
    return (1 + np.clip(manner.tremble, 0, 0.9) * slow) * (1 + np.clip(manner.rough, 0, 0.9) * fast)


def _breath(sound: np.ndarray, manner: Prosody, random: np.random.Generator) -> np.ndarray:
    """Noise with the envelope of the sound."""
    envelope = cv2.blur(np.abs(sound)[None], (BREATH_SMOOTHING, 1))[0]
    return manner.breath * envelope * random.normal(0.0, 2.0, len(sound))

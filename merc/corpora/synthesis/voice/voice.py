"""Synthesis of a spoken sentence with emotional prosody, and of the mouth opening that goes with it."""

import cv2
import numpy as np

from merc.corpora.synthesis.plan.cast import Person
from merc.corpora.synthesis.voice.espeak import ESPEAK_RATE, speak
from merc.corpora.synthesis.voice.prosody import MIDDLE_HERTZ, ROUGH_HERTZ, TREMBLE_HERTZ, Prosody, draw_prosody

FRAME_RATE = 25  # video frames per second
SAMPLES_PER_FRAME = ESPEAK_RATE // FRAME_RATE  # audio samples per video frame
LOUDNESS = 0.07  # root mean square of a neutral voice
NOISE_LEVEL = 0.0015  # standard deviation of the background noise
BREATH_SMOOTHING, BLOCK = 301, 4096  # samples
LOWEST_HERTZ = 80.0  # the spectral tilt applies above this frequency
MOUTH_LEVELS = 8  # number of mouth openings, besides shut


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

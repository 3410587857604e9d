"""Sounds as they might have been: said faster or slower, louder, in noise, with gaps, two at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft

from merc.augmentation_settings import Augmentation
from merc.encoders.raw import Sound

MASKED = 0.01  # of the amplitude is left, 40 dB less: as if it were not there
MASKS = 2  # of each kind
HIGHEST_MEL = 2840.0  # that of 8 kHz
SILENT = 1e-12  # power that keeps a logarithm finite


class Heard(NamedTuple):
    """What a batch becomes."""

    raw: list
    other: np.ndarray  # (N,) the row whose label each has besides its own
    share: np.ndarray  # (N,) float64: how much of its own label it has; the rest is the other's


def plain(raw: list) -> Heard:
    """Nothing is done."""
    return Heard(raw, np.arange(len(raw)), np.ones(len(raw)))


class Augmenter:
    """Draws anew for each sound; the same generator gives the same sounds."""

    def __init__(self, config: Augmentation, random: np.random.Generator) -> None:
        self.config, self.random = config, random

    @property
    def longest(self) -> float:
        """Samples that are heard at once."""
        return self.config.seconds * Sound.rate or math.inf

    def __call__(self, raw: Sequence[Sound]) -> Heard:
        """A batch, each sound changed on its own and then mixed with another of them."""
        changed = [self._one(sound.samples) for sound in raw]
        heard = plain(changed)
        heard = self._mixed(changed) if self.config.mixup else heard
        return heard._replace(raw=[Sound(samples.astype(np.float32)) for samples in heard.raw])

    def _one(self, samples: np.ndarray) -> np.ndarray:
        config, random = self.config, self.random
        if config.speed:  # pitch and formants move along: another throat
            samples = faster(samples, math.exp(random.uniform(-1, 1) * math.log1p(config.speed)))
        if config.seconds:
            samples = cut(samples, round(config.seconds * Sound.rate), random)
        if config.gain:
            samples = samples * 10 ** (random.uniform(-config.gain, config.gain) / 20)
        for _ in range(MASKS if config.time_mask else 0):
            samples = without_moment(samples, config.time_mask, random)
        if config.band_mask:
            samples = without_bands(samples, config.band_mask, random)
        if random.random() < config.noise:
            samples = noisy(samples, random.uniform(10, 40), random)
        return samples

    def _mixed(self, sounds: list[np.ndarray]) -> Heard:
        """Two at once, the one whose label counts more being as much louder (Tokozume et al. 2018)."""
        other = self.random.permutation(len(sounds))
        chosen = self.random.random(len(sounds)) < self.config.mixup
        share = np.where(chosen, self.random.uniform(0.5, 1, len(sounds)), 1.0)
        raw = [
            mixed(sound, sounds[row], own) if own < 1 else sound
            for sound, row, own in zip(sounds, other, share, strict=True)
        ]
        return Heard(raw, other, share)


def faster(samples: np.ndarray, times: float) -> np.ndarray:
    """Played at so many times its speed."""
    last = len(samples) - 1
    return np.interp(np.arange(0, last + 1e-9, times), np.arange(last + 1), samples).astype(np.float32)


def cut(samples: np.ndarray, longest: int, random: np.random.Generator) -> np.ndarray:
    """So many samples at most, from anywhere."""
    first = int(random.integers(0, max(0, len(samples) - longest) + 1))
    return samples[first : first + longest]


def without_moment(samples: np.ndarray, widest: float, random: np.random.Generator) -> np.ndarray:
    """Up to this share of the time falls silent."""
    width = int(random.uniform(0, widest) * len(samples))
    first = int(random.integers(0, len(samples) - width + 1))
    samples = samples.copy()
    samples[first : first + width] *= MASKED
    return samples


def without_bands(samples: np.ndarray, widest: float, random: np.random.Generator) -> np.ndarray:
    """Up to this share of the mel scale falls silent, in each of several places (Park et al. 2019)."""
    size = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(samples.astype(np.float32), size)
    for _ in range(MASKS):
        width = random.uniform(0, widest) * HIGHEST_MEL
        lowest = random.uniform(0, HIGHEST_MEL - width)
        first, last = (int(_hertz(mel) / Sound.rate * size) for mel in (lowest, lowest + width))
        spectrum[first:last] *= MASKED
    return fft.irfft(spectrum, size)[: len(samples)]


def noisy(samples: np.ndarray, decibels: float, random: np.random.Generator) -> np.ndarray:
    """White noise, so far below the sound."""
    level = np.sqrt(_power(samples) * 10 ** (-decibels / 10))
    return samples + np.float32(level) * random.standard_normal(len(samples), dtype=np.float32)


def mixed(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Both, from the same moment on, as if they had been equally loud; the sum is as loud as lies between them.

    Loudness tells much of an emotion: a sum without this would be as loud as the quieter of both.
    """
    levels = math.sqrt(_power(one) + SILENT), math.sqrt(_power(other) + SILENT)
    between = levels[0] ** share * levels[1] ** (1 - share)
    weights = np.array([share, 1 - share]) * between / math.hypot(share, 1 - share) / levels
    sum_of_both = np.zeros(max(len(one), len(other)), np.float32)
    for sound, weight in zip((one, other), weights, strict=True):
        sum_of_both[: len(sound)] += np.float32(weight) * sound
    return sum_of_both


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples).mean())


def _hertz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)

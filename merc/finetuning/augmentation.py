"""Audio augmentation for fine-tuning: speed, crop, gain, time and frequency masks, noise, mixup.

torchaudio's masks take spectrograms, not samples, and draw from the global generator; its add_noise is no shorter.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from scipy import fft
from torchaudio.functional import resample

from merc.data.records.encoder_inputs import AudioInput
from merc.finetuning.finetuning_config import AugmentationConfig

MASK_GAIN = 0.01  # amplitude factor of masked parts: -40 dB
NUM_MASKS = 2  # number of masks of each kind
MAX_MEL = 2840.0  # 8 kHz in mel
MIN_POWER = 1e-12  # power added to keep a silent sound's level above 0


class AugmentedBatch(NamedTuple):
    """An augmented batch: encoder inputs, each with one or, after mixup, two weighted labels."""

    inputs: list
    partner: np.ndarray  # (N,) row of the batch whose label is the second label
    label_weight: np.ndarray  # (N,) float64: weight of the first label; the second's is 1 - label_weight


def no_augmentation(inputs: list) -> AugmentedBatch:
    """The batch without augmentation."""
    return AugmentedBatch(inputs, np.arange(len(inputs)), np.ones(len(inputs)))


class Augmenter:
    """Augments batches of sounds at random; the same generator state gives the same sounds."""

    def __init__(self, config: AugmentationConfig, random: np.random.Generator) -> None:
        self.config, self.random = config, random

    @property
    def longest(self) -> float:
        """Maximum number of samples of an augmented sound."""
        return self.config.seconds * AudioInput.rate or math.inf

    def __call__(self, sounds: Sequence[AudioInput]) -> AugmentedBatch:
        """Augment each sound of a batch, then mix it with another one of the batch."""
        augmented = [self._augment(sound.samples) for sound in sounds]
        batch = self._mixup(augmented) if self.config.mixup else no_augmentation(augmented)
        return batch._replace(inputs=[AudioInput(samples.astype(np.float32)) for samples in batch.inputs])

    def _augment(self, samples: np.ndarray) -> np.ndarray:
        config, random = self.config, self.random
        if config.speed:  # pitch and formants change too, as for another speaker
            samples = change_speed(samples, math.exp(random.uniform(-1, 1) * math.log1p(config.speed)))
        if config.seconds:
            samples = random_crop(samples, round(config.seconds * AudioInput.rate), random)
        if config.gain:
            samples = samples * 10 ** (random.uniform(-config.gain, config.gain) / 20)
        for _ in range(NUM_MASKS if config.time_mask else 0):
            samples = mask_time(samples, config.time_mask, random)
        if config.band_mask:
            samples = mask_bands(samples, config.band_mask, random)
        if random.random() < config.noise:
            samples = add_noise(samples, random.uniform(10, 40), random)
        return samples

    def _mixup(self, sounds: list[np.ndarray]) -> AugmentedBatch:
        """Between-class mixing: levels in the ratio of the labels' weights (Tokozume et al. 2018)."""
        partner = self.random.permutation(len(sounds))
        is_mixed = self.random.random(len(sounds)) < self.config.mixup
        label_weight = np.where(is_mixed, self.random.uniform(0.5, 1, len(sounds)), 1.0)
        inputs = [
            mix_sounds(sound, sounds[row], weight) if weight < 1 else sound
            for sound, row, weight in zip(sounds, partner, label_weight, strict=True)
        ]
        return AugmentedBatch(inputs, partner, label_weight)


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Resample to change speed and pitch by a factor, rounded to hundredths.

    torchaudio.functional.speed takes 9 s for 4 s of sound where a factor is no ratio of small integers.
    """
    return resample(torch.from_numpy(samples), round(100 * factor), 100).numpy()


def random_crop(samples: np.ndarray, longest: int, random: np.random.Generator) -> np.ndarray:
    """A random crop of at most `longest` samples."""
    first = int(random.integers(0, max(0, len(samples) - longest) + 1))
    return samples[first : first + longest]


def mask_time(samples: np.ndarray, widest: float, random: np.random.Generator) -> np.ndarray:
    """Mask a random span of up to a fraction `widest` of the time."""
    width = int(random.uniform(0, widest) * len(samples))
    first = int(random.integers(0, len(samples) - width + 1))
    samples = samples.copy()
    samples[first : first + width] *= MASK_GAIN
    return samples


def mask_bands(samples: np.ndarray, widest: float, random: np.random.Generator) -> np.ndarray:
    """Mask random bands of up to a fraction `widest` of the mel scale each (SpecAugment, Park et al. 2019)."""
    size = cast(int, fft.next_fast_len(len(samples), real=True))
    spectrum = cast(np.ndarray, fft.rfft(samples.astype(np.float32), size))
    for _ in range(NUM_MASKS):
        width = random.uniform(0, widest) * MAX_MEL
        lowest = random.uniform(0, MAX_MEL - width)
        first, last = (int(_hertz(mel) / AudioInput.rate * size) for mel in (lowest, lowest + width))
        spectrum[first:last] *= MASK_GAIN
    return cast(np.ndarray, fft.irfft(spectrum, size))[: len(samples)]


def add_noise(samples: np.ndarray, decibels: float, random: np.random.Generator) -> np.ndarray:
    """Add white noise at a signal-to-noise ratio in decibels."""
    level = np.sqrt(_power(samples) * 10 ** (-decibels / 10))
    return samples + np.float32(level) * random.standard_normal(len(samples), dtype=np.float32)


def mix_sounds(sound: np.ndarray, other: np.ndarray, ratio: float) -> np.ndarray:
    """Sum two sounds, aligned at their beginnings, normalised in level and weighted by `ratio` and 1 - `ratio`.

    The level of the sum is the weighted geometric mean of both levels: loudness is a strong cue to emotion, and
    without this the sum would be as loud as the quieter sound.
    """
    levels = math.sqrt(_power(sound) + MIN_POWER), math.sqrt(_power(other) + MIN_POWER)
    mean_level = levels[0] ** ratio * levels[1] ** (1 - ratio)
    weights = np.array([ratio, 1 - ratio]) * mean_level / math.hypot(ratio, 1 - ratio) / levels
    mixture = np.zeros(max(len(sound), len(other)), np.float32)
    for samples, weight in zip((sound, other), weights, strict=True):
        mixture[: len(samples)] += np.float32(weight) * samples
    return mixture


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples).mean())


def _hertz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)

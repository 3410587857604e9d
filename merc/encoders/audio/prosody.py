"""Training-free prosody encoder: log-mel bands, pitch, voicing and energy, a few steps per second."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio.framed_encoder import FramedAudioEncoder, frames_per_step_for
from merc.encoders.audio.spectrum import POWER_FLOOR, frame_signal
from merc.encoders.lipsync.clip_inputs import mel_filterbank
from merc.runtime.numerics import square_root

FRAMES_PER_SECOND = 100  # approximately; before pooling
BANDS = 24
MEL_WINDOW = 512  # samples: 32 ms


class Prosody(FramedAudioEncoder):
    """Mean and standard deviation of frame descriptors per step, and statistics of the utterance on every step.

    Pitch after Boersma (1993): the autocorrelation of a windowed frame divided by that of its window; a softmax
    over the lags replaces the maximum, so that gradients reach the samples.
    """

    budget = 10 * SAMPLE_RATE  # fits the processor's cache: takes two thirds of the time of a threefold budget
    window: Tensor
    bands: Tensor

    def __init__(self, name: str, frame_rate: float) -> None:
        frames_per_step = frames_per_step_for(frame_rate, FRAMES_PER_SECOND)
        super().__init__(name, max(1, round(SAMPLE_RATE / (frame_rate * frames_per_step))), frames_per_step)
        self.pitch = Pitch(self.hop)
        self.register_buffer("window", torch.hann_window(MEL_WINDOW), persistent=False)
        self.register_buffer("bands", mel_filterbank(BANDS, MEL_WINDOW), persistent=False)
        self.dim = len(self.blank[0])

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        steps = self.steps(lengths)
        num_frames = self.frames_per_step * int(steps.max())
        mask = self.frame_mask(lengths, num_frames)
        frame_features, utterance_features = self._describe(samples, num_frames, mask)
        mean, deviation = _pool(frame_features, mask, self.frames_per_step)
        repeated = utterance_features[:, None].expand(-1, mean.shape[1], -1)
        return torch.cat([mean, deviation, repeated], dim=-1), steps

    def _describe(self, samples: Tensor, num_frames: int, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the frames (N, T, D), to be pooled by step, and of the utterance (N, E)."""
        mel, energy = self._spectrum(samples, num_frames)
        octave, voicing = self.pitch(samples, num_frames)
        loudness = mask * energy.sigmoid()  # weights quiet frames less
        mean_energy, energy_deviation = _moments(energy, mask)
        mean_octave, octave_deviation = _moments(octave, (voicing + 1e-3) * loudness)
        contour = voicing * (octave - mean_octave[:, None])
        changes = [_change(values) for values in (energy, contour, voicing)]
        flux = _change(mel).abs().mean(dim=-1, keepdim=True)
        relative_energy = energy - mean_energy[:, None]
        frame_features = [mel, energy, relative_energy, voicing, contour, voicing * octave, *changes, flux]
        dynamics = torch.cat([flux, changes[0].relu(), changes[2].abs(), contour.abs(), voicing], dim=-1)
        tilt = _moments(mel - energy, loudness)[0]  # mean spectrum of the speech, relative to its energy
        trend = [_trend(octave, (voicing + 1e-3) * loudness), _trend(energy, mask)]
        tempo = [_tempo(energy, mask), _tempo(contour, mask)]
        level = [mean_energy, energy_deviation, mean_octave, octave_deviation]
        utterance_features = [*level, *_moments(dynamics, mask), tilt, *trend, *tempo, mask.sum(dim=1).log()]
        return torch.cat(frame_features, dim=-1), torch.cat(utterance_features, dim=-1)

    def _spectrum(self, samples: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """Log-mel bands (N, T, BANDS), and log energy (N, T, 1), zero at a quiet voice."""
        frames = frame_signal(samples, num_frames, MEL_WINDOW, self.hop) * self.window
        spectrum = torch.fft.rfft(frames)
        power = (spectrum.real.square() + spectrum.imag.square()) / self.window.sum() ** 2
        bands = power @ self.bands
        return (bands + POWER_FLOOR).log() + 10, (bands.sum(dim=-1, keepdim=True) + POWER_FLOOR).log() + 10


# the columns of `_describe`, in order
FRAME_NAMES = (
    *(f"mel band {band}" for band in range(1, BANDS + 1)),
    *("energy", "energy above the mean", "voicing", "pitch above the mean", "pitch"),
    *("change of energy", "change of pitch", "change of voicing", "change of the spectrum"),
)
DYNAMICS = (
    "change of the spectrum",
    "rise of energy",
    "turns of voicing",
    "distance from the mean pitch",
    "voicing",
)
UTTERANCE_NAMES = (
    *("energy, mean", "energy, deviation", "pitch, mean", "pitch, deviation"),
    *(f"{name}, {statistic}" for statistic in ("mean", "deviation") for name in DYNAMICS),
    *(f"mel band {band}, relative to energy" for band in range(1, BANDS + 1)),
    *("pitch, trend", "energy, trend", "energy, tempo", "pitch, tempo", "duration"),
)


def feature_names() -> list[str]:
    """What each number of a step is: statistics of the step's frames, then of the utterance."""
    steps = [f"{name}, {statistic} of a step" for statistic in ("mean", "deviation") for name in FRAME_NAMES]
    return [*steps, *UTTERANCE_NAMES]


class Pitch(nn.Module):
    """Pitch in octaves above 150 Hz, and voicing (0 to 1), per frame."""

    rate = SAMPLE_RATE // 2  # suffices for the fundamental frequency of a voice
    size = 512  # samples: 64 ms, three periods of the lowest voice
    lowest, highest = 60.0, 500.0  # Hz
    reference = 150.0  # Hz
    octave_cost = 0.06  # of strength, as in Boersma: prefers a period over its multiples, which fit as well
    sharpness = 80.0  # of the softmax over lags
    voicing_threshold = 0.45  # strength; as in Boersma
    window: Tensor
    cosines: Tensor
    window_correlation: Tensor
    octaves: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        window = torch.hann_window(self.size)
        lags = torch.arange(math.ceil(self.rate / self.highest), int(self.rate / self.lowest) + 1)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer(
            "cosines", _cosines(torch.cat([lags.new_zeros(1), lags]), 2 * self.size), persistent=False
        )
        window_correlation = self.correlation(window[None])[0]
        normalised = window_correlation[1:] / window_correlation[0]
        self.register_buffer("window_correlation", normalised, persistent=False)
        self.register_buffer("octaves", (self.rate / lags / self.reference).log2(), persistent=False)

    def forward(self, samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Pitch and voicing, both (N, T, 1)."""
        frames = frame_signal(samples, count, 2 * self.size, self.hop)
        frames = (frames[..., 0::2] + frames[..., 1::2]) / 2
        correlation = self.correlation((frames - frames.mean(dim=-1, keepdim=True)) * self.window)
        energy = correlation[..., :1] + POWER_FLOOR * self.size  # the floor removes the pitch of near silence
        strength = correlation[..., 1:] / energy / self.window_correlation
        weights = (self.sharpness * (strength + self.octave_cost * self.octaves)).softmax(dim=-1)
        best = (weights * strength).sum(dim=-1, keepdim=True)
        octave = (weights * self.octaves).sum(dim=-1, keepdim=True)
        return octave, (20 * (best - self.voicing_threshold)).sigmoid()

    def correlation(self, frames: Tensor) -> Tensor:
        """Autocorrelation (..., 1 + lags) of windowed frames at lag 0 and at all lags (Wiener-Khinchin theorem)."""
        spectrum = torch.fft.rfft(frames, 2 * self.size)
        return (spectrum.real.square() + spectrum.imag.square()) @ self.cosines


def _cosines(lags: Tensor, size: int) -> Tensor:
    """(size // 2 + 1, lags): matrix of the inverse Fourier transform that maps a power spectrum to the lags."""
    turns = torch.outer(torch.arange(size // 2 + 1), lags) % size / size
    factor = torch.full((size // 2 + 1, 1), 2.0, dtype=torch.float64)  # 2 accounts for the negative frequencies
    factor[0] = factor[-1] = 1.0
    return (factor * (2 * math.pi * turns.double()).cos() / size).float()


def _change(values: Tensor) -> Tensor:
    """Difference to the previous frame, 0 at the first."""
    return functional.pad(values[:, 1:] - values[:, :-1], (0, 0, 1, 0))


def _moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation (N, D) over the frames."""
    total = weight.sum(dim=1)
    mean = (values * weight).sum(dim=1) / total
    variance = ((values - mean[:, None]).square() * weight).sum(dim=1) / total
    return mean, square_root(variance + 1e-4)


def _trend(values: Tensor, weight: Tensor) -> Tensor:
    """Rise (N, D) over the utterance: slope of the weighted regression line, time running from 0 to 1."""
    valid = (weight > 0).float()
    time = valid.cumsum(dim=1) / valid.sum(dim=1, keepdim=True)
    mean_time, time_deviation = _moments(time, weight)
    mean, _ = _moments(values, weight)
    covariance = ((time - mean_time[:, None]) * (values - mean[:, None]) * weight).sum(dim=1) / weight.sum(dim=1)
    return covariance / time_deviation.square()


def _tempo(values: Tensor, mask: Tensor) -> Tensor:
    """Rate of modulation (N, D), independent of its depth: log of mean absolute change over standard deviation."""
    smooth = _smooth(values * mask) / _smooth(mask).clamp(min=1e-9)
    return (_moments(_change(smooth).abs(), mask)[0] + 1e-4).log() - _moments(smooth, mask)[1].log()


def _smooth(values: Tensor) -> Tensor:
    """Moving average over five frames."""
    return functional.avg_pool1d(values.transpose(1, 2), 5, 1, 2).transpose(1, 2)


def _pool(values: Tensor, mask: Tensor, frames_per_step: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (N, S, D) over the valid frames of each step."""
    rows, frames, width = values.shape
    steps = frames // frames_per_step
    weight = mask.view(rows * steps, frames_per_step, 1).clamp(min=1e-9)
    mean, deviation = _moments(values.view(rows * steps, frames_per_step, width), weight)
    return mean.view(rows, steps, width), deviation.view(rows, steps, width)

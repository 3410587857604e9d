"""How something is said, without training: log-mel bands, pitch, voicing and energy, a few steps a second."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.encoders.hearing import Hearing, pooling
from merc.encoders.raw import RATE
from merc.encoders.spectrum import FLOOR, frame, mel_bands
from merc.numerics import square_root

FRAMES_PER_SECOND = 100  # about; before pooling
BANDS = 24
MEL_WINDOW = 512  # samples: 32 ms


class Prosody(Hearing):
    """Mean and spread of frame descriptors over each step, and the utterance's own level and range on every step.

    The pitch is Boersma's (1993): the autocorrelation of a windowed frame over that of its window; a softmax over
    the lags takes the place of his maximum, so that gradients reach the samples.
    """

    budget = 10 * RATE  # what a processor's cache holds takes two thirds of the time of three times as much

    def __init__(self, name: str, frame_rate: float) -> None:
        pooled = pooling(frame_rate, FRAMES_PER_SECOND)
        super().__init__(name, max(1, round(RATE / (frame_rate * pooled))), pooled)
        self.pitch = Pitch(self.hop)
        self.register_buffer("window", torch.hann_window(MEL_WINDOW), persistent=False)
        self.register_buffer("bands", mel_bands(BANDS, MEL_WINDOW), persistent=False)
        self.dim = len(self.blank[0])

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        steps = self.steps(lengths)
        count = self.pooled * int(steps.max())
        heard = self.heard(lengths, count)
        local, whole = self._describe(samples, count, heard)
        mean, spread = _pool(local, heard, self.pooled)
        every = whole[:, None].expand(-1, mean.shape[1], -1)
        return torch.cat([mean, spread, every], dim=-1), steps

    def _describe(self, samples: Tensor, count: int, heard: Tensor) -> tuple[Tensor, Tensor]:
        """What is pooled by step (N, T, D), and what holds for the whole utterance (N, E)."""
        mel, energy = self._spectrum(samples, count)
        octave, voicing = self.pitch(samples, count)
        said = heard * energy.sigmoid()  # quiet frames count less
        level, level_spread = _moments(energy, heard)
        height, height_spread = _moments(octave, (voicing + 1e-3) * said)
        contour = voicing * (octave - height[:, None])
        changes = [_change(one) for one in (energy, contour, voicing)]
        flux = _change(mel).abs().mean(dim=-1, keepdim=True)
        local = [mel, energy, energy - level[:, None], voicing, contour, voicing * octave, *changes, flux]
        moving = torch.cat([flux, changes[0].relu(), changes[2].abs(), contour.abs(), voicing], dim=-1)
        tilt = _moments(mel - energy, said)[0]  # the spectrum of what is said, its level taken out
        trend = [_trend(octave, (voicing + 1e-3) * said), _trend(energy, heard)]
        tempo = [_tempo(energy, heard), _tempo(contour, heard)]
        whole = [level, level_spread, height, height_spread, *_moments(moving, heard), tilt, *trend, *tempo]
        return torch.cat(local, dim=-1), torch.cat([*whole, heard.sum(dim=1).log()], dim=-1)

    def _spectrum(self, samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Log-mel bands (N, T, BANDS), and the log energy (N, T, 1), zero at a quiet voice."""
        frames = frame(samples, count, MEL_WINDOW, self.hop) * self.window
        spectrum = torch.fft.rfft(frames)
        power = (spectrum.real.square() + spectrum.imag.square()) / self.window.sum() ** 2
        bands = power @ self.bands
        return (bands + FLOOR).log() + 10, (bands.sum(dim=-1, keepdim=True) + FLOOR).log() + 10


class Pitch(nn.Module):
    """Octaves above 150 Hz, and how surely there is a pitch at all (0 to 1), per frame."""

    rate = RATE // 2  # the voice's fundamental needs no more
    size = 512  # samples: 64 ms, three periods of the lowest voice
    lowest, highest = 60.0, 500.0  # Hz
    reference = 150.0  # Hz
    octave_cost = 0.06  # of strength: a period fits as well twice as long; prefer the shorter
    sharpness = 80.0  # of the softmax over lags
    voiced_from = 0.45  # strength; Boersma's own threshold

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        window = torch.hann_window(self.size)
        lags = torch.arange(math.ceil(self.rate / self.highest), int(self.rate / self.lowest) + 1)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("waves", _waves(torch.cat([lags.new_zeros(1), lags]), 2 * self.size), persistent=False)
        own = self.correlation(window[None])[0]
        self.register_buffer("own", own[1:] / own[0], persistent=False)
        self.register_buffer("octaves", (self.rate / lags / self.reference).log2(), persistent=False)

    def forward(self, samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Two tensors (N, T, 1)."""
        frames = frame(samples, count, 2 * self.size, self.hop)
        frames = (frames[..., 0::2] + frames[..., 1::2]) / 2
        correlation = self.correlation((frames - frames.mean(dim=-1, keepdim=True)) * self.window)
        own = correlation[..., :1] + FLOOR * self.size  # what is hardly heard has no pitch
        strength = correlation[..., 1:] / own / self.own
        choice = (self.sharpness * (strength + self.octave_cost * self.octaves)).softmax(dim=-1)
        sure = (choice * strength).sum(dim=-1, keepdim=True)
        octave = (choice * self.octaves).sum(dim=-1, keepdim=True)
        return octave, (20 * (sure - self.voiced_from)).sigmoid()

    def correlation(self, frames: Tensor) -> Tensor:
        """The autocorrelation (..., 1 + lags) of windowed frames, at no lag and at all lags (Wiener, Khinchin)."""
        spectrum = torch.fft.rfft(frames, 2 * self.size)
        return (spectrum.real.square() + spectrum.imag.square()) @ self.waves


def _waves(lags: Tensor, size: int) -> Tensor:
    """(size // 2 + 1, lags) what a real spectrum's inverse Fourier transform of so many samples multiplies with."""
    turns = torch.outer(torch.arange(size // 2 + 1), lags) % size / size
    twice = torch.full((size // 2 + 1, 1), 2.0, dtype=torch.float64)  # for the frequencies below zero
    twice[0] = twice[-1] = 1.0
    return (twice * (2 * math.pi * turns.double()).cos() / size).float()


def _change(values: Tensor) -> Tensor:
    """The difference to the frame before, 0 at the first."""
    return functional.pad(values[:, 1:] - values[:, :-1], (0, 0, 1, 0))


def _moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread (N, D) over the frames, weighted."""
    total = weight.sum(dim=1)
    mean = (values * weight).sum(dim=1) / total
    variance = ((values - mean[:, None]).square() * weight).sum(dim=1) / total
    return mean, square_root(variance + 1e-4)


def _trend(values: Tensor, weight: Tensor) -> Tensor:
    """(N, D) how far they rise over the utterance: the weighted straight line from its first frame to its last."""
    counted = (weight > 0).float()
    time = counted.cumsum(dim=1) / counted.sum(dim=1, keepdim=True)
    early, spread = _moments(time, weight)
    mean, _ = _moments(values, weight)
    slope = ((time - early[:, None]) * (values - mean[:, None]) * weight).sum(dim=1) / weight.sum(dim=1)
    return slope / spread.square()


def _tempo(values: Tensor, heard: Tensor) -> Tensor:
    """(N, D) how fast they go up and down, whatever the depth: log of mean change over spread."""
    smooth = _smooth(values * heard) / _smooth(heard).clamp(min=1e-9)
    return (_moments(_change(smooth).abs(), heard)[0] + 1e-4).log() - _moments(smooth, heard)[1].log()


def _smooth(values: Tensor) -> Tensor:
    """The mean over five frames."""
    return functional.avg_pool1d(values.transpose(1, 2), 5, 1, 2).transpose(1, 2)


def _pool(values: Tensor, heard: Tensor, pooled: int) -> tuple[Tensor, Tensor]:
    """Mean and spread (N, S, D) over each step's frames that are heard."""
    rows, frames, width = values.shape
    steps = frames // pooled
    mean, spread = _moments(
        values.view(rows * steps, pooled, width), heard.view(rows * steps, pooled, 1).clamp(min=1e-9)
    )
    return mean.view(rows, steps, width), spread.view(rows, steps, width)

"""Windows of a sound, and the mel bands of their spectrum."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from merc.encoders.raw import RATE

FLOOR = 1e-7  # power below which nothing is heard; 16-bit rounding noise lies near 1e-10


def frame(samples: Tensor, count: int, size: int, hop: int) -> Tensor:
    """(N, count, size) windows, each centred on its hop; zeros where there is no sound."""
    before = (size - hop) // 2 if size > hop else 0
    length = (count - 1) * hop + size
    padded = functional.pad(samples, (before, max(0, length - before - samples.shape[1])))
    return padded[:, :length].unfold(1, size, hop)


def mel_bands(count: int, window: int) -> Tensor:
    """(frequencies, count) triangles, equally wide on the mel scale (O'Shaughnessy 1987) from 60 Hz to 7.6 kHz."""
    hertz = torch.linspace(0, RATE / 2, window // 2 + 1)
    edges = torch.linspace(_mel(60.0), _mel(7600.0), count + 2)
    position = 2595 * torch.log10(1 + hertz / 700)
    rising = (position[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - position[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)

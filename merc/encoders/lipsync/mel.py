"""Mel filterbank of the lip-sync network's sound input and of the audio encoders; imports no torch."""

import math
from types import ModuleType
from typing import Any

from merc.data.records.encoder_inputs import SAMPLE_RATE

LOWEST, HIGHEST = 60.0, 7600.0  # Hz


def mel_filterbank(library: ModuleType, num_bands: int, fft_size: int) -> Any:
    """(fft_size // 2 + 1, num_bands) triangles of equal width on the mel scale (O'Shaughnessy 1987).

    `library` is numpy (an array in float64) or torch (a tensor in float32).
    """
    hertz = library.linspace(0, SAMPLE_RATE / 2, fft_size // 2 + 1)
    edges = library.linspace(_mel(LOWEST), _mel(HIGHEST), num_bands + 2)
    mel = 2595 * library.log10(1 + hertz / 700)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    return library.clip(library.minimum(rising, falling), 0, None)


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)

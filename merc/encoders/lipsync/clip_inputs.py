"""Inputs of the lip-sync network: mouth regions of a clip's face tracks and log-mel frames, time-aligned."""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.data.records.face_tracks import TRACK_FPS, Track

if TYPE_CHECKING:
    from torch import Tensor

HEIGHT, WIDTH = 32, 48  # of a mouth region, pixels: lower half of a 64 x 64 crop without its outer eighths
BANDS = 40
FRAMES_PER_PICTURE = 4  # sound frames of 10 ms per picture
HOP = int(SAMPLE_RATE / TRACK_FPS) // FRAMES_PER_PICTURE
WINDOW = 400  # samples: 25 ms
FFT_SIZE = 512  # FFT size
POWER_FLOOR = 1e-6  # power added before the logarithm
LOWEST, HIGHEST = 60.0, 7600.0  # Hz, of the mel bands
NO_WARPING = (0.0, 0.0, 1.0)  # of the frequencies to a speaker's vocal tract
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class LipSyncClip:
    """Inputs of one clip: K tracks over the F pictures that have sound."""

    mouths: np.ndarray  # (K, F, HEIGHT, WIDTH) uint8, grey; constant before and after the track
    seen: np.ndarray  # (K, F) bool: whether the track covers the picture
    sound: np.ndarray  # (F * FRAMES_PER_PICTURE, BANDS) float32

    def __len__(self) -> int:
        return self.seen.shape[1]


def align_clip(tracks: list[Track], samples: np.ndarray, start: float = 0.0) -> LipSyncClip:
    """Align the mouths of one or more tracks with the sound (16 kHz, -1 to 1) of their clip.

    The sound begins `start` seconds after the clip; earlier pictures are left out.
    """
    tracks = [replace(track, frames=track.frames - round(start * TRACK_FPS)) for track in tracks]
    last = max(int(track.frames[-1]) for track in tracks)
    count = max(min(last + 1, len(samples) // (HOP * FRAMES_PER_PICTURE)), 0)
    seen = np.stack([np.isin(np.arange(count), track.frames) for track in tracks])
    return LipSyncClip(
        np.stack([_mouths_by_picture(track, count) for track in tracks]), seen, log_mel(samples, count)
    )


def mouth_regions(crops: np.ndarray) -> np.ndarray:
    """Grey mouth regions (F, HEIGHT, WIDTH) uint8 of face crops (F, height, width, 3)."""
    height, width = crops.shape[1:3]
    region = crops[:, height // 2 :, width // 8 : width - width // 8] @ GREY_WEIGHTS
    if region.shape[1:] != (HEIGHT, WIDTH):
        region = _area_weights(region.shape[1], HEIGHT) @ region @ _area_weights(region.shape[2], WIDTH).T
    return np.round(region).astype(np.uint8)


def log_mel(samples: np.ndarray, pictures: int) -> np.ndarray:
    """Log mel power (pictures * FRAMES_PER_PICTURE, BANDS) float32, minus its mean over the clip."""
    count = pictures * FRAMES_PER_PICTURE
    margin = (WINDOW - HOP) // 2  # centres each window on its 10 ms
    padded = np.pad(samples.astype(np.float32), (margin, margin + WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: count * HOP : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), FFT_SIZE)) ** 2 / WINDOW
    log_power = np.log(power @ mel_bands() + POWER_FLOOR)
    return (log_power - (log_power.mean() if count else 0.0)).astype(np.float32)


@cache
def mel_bands() -> np.ndarray:
    """Mel filterbank (FFT_SIZE // 2 + 1, BANDS); imports torch."""
    return mel_filterbank(BANDS, FFT_SIZE).numpy()


def mel_filterbank(num_bands: int, fft_size: int) -> "Tensor":
    """(fft_size // 2 + 1, num_bands) float32 triangles of equal width on the mel scale (O'Shaughnessy 1987).

    Kaldi's; torchaudio.functional.melscale_fbanks has triangles in hertz between the same edges.
    """
    from torch.nn import functional
    from torchaudio.compliance import kaldi

    bands, _ = kaldi.get_mel_banks(num_bands, fft_size, SAMPLE_RATE, LOWEST, HIGHEST, *NO_WARPING)
    return functional.pad(bands.T, (0, 0, 0, 1))  # Kaldi leaves out half the sample rate, which lies in no band


def _mouths_by_picture(track: Track, count: int) -> np.ndarray:
    """Mouths (count, HEIGHT, WIDTH) of a track, the first and last repeated outside of it."""
    nearest = np.clip(np.arange(count) - track.frames[0], 0, len(track.frames) - 1)
    return mouth_regions(track.crops)[nearest]


@cache
def _area_weights(size: int, new_size: int) -> np.ndarray:
    """(new_size, size) weights of area interpolation along one axis."""
    edges = np.linspace(0, size, new_size + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)
    overlap = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)

"""What lip-sync looks at and listens to: the mouths of a clip's face tracks and its sound, on one clock."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from merc.tracks import RATE, Track

HEIGHT, WIDTH = 32, 48  # a mouth region, pixels: the lower half of a 64 x 64 crop without its outer eighths
SAMPLE_RATE = 16_000
BANDS = 40
FRAMES_PER_PICTURE = 4  # sound frames of 10 ms
HOP = int(SAMPLE_RATE / RATE) // FRAMES_PER_PICTURE
WINDOW = 400  # samples: 25 ms
SPECTRUM = 512
FLOOR = 1e-6  # power below which nothing is heard
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Clip:
    """K tracks over the F pictures that have sound."""

    mouths: np.ndarray  # (K, F, HEIGHT, WIDTH) uint8, grey; before and after its track a mouth stands still
    seen: np.ndarray  # (K, F) bool: within its track
    sound: np.ndarray  # (F * FRAMES_PER_PICTURE, BANDS) float32

    def __len__(self) -> int:
        return self.seen.shape[1]


def clip(tracks: list[Track], samples: np.ndarray, start: float = 0.0) -> Clip:
    """The mouths of one or more tracks beside the sound (16 kHz, -1 to 1) that one of them may have made.

    The sound begins `start` seconds after the clip; what is seen before it is left out.
    """
    tracks = [replace(track, frames=track.frames - round(start * RATE)) for track in tracks]
    last = max(int(track.frames[-1]) for track in tracks)
    count = max(min(last + 1, len(samples) // (HOP * FRAMES_PER_PICTURE)), 0)
    seen = np.stack([np.isin(np.arange(count), track.frames) for track in tracks])
    return Clip(np.stack([_placed(track, count) for track in tracks]), seen, log_mel(samples, count))


def mouths(crops: np.ndarray) -> np.ndarray:
    """(F, HEIGHT, WIDTH) uint8: the grey mouth regions of (F, height, width, 3) face crops."""
    height, width = crops.shape[1:3]
    region = crops[:, height // 2 :, width // 8 : width - width // 8] @ GREY
    if region.shape[1:] != (HEIGHT, WIDTH):
        region = _areas(region.shape[1], HEIGHT) @ region @ _areas(region.shape[2], WIDTH).T
    return np.round(region).astype(np.uint8)


def log_mel(samples: np.ndarray, pictures: int) -> np.ndarray:
    """(pictures * FRAMES_PER_PICTURE, BANDS) float32: log power by band, its mean over the clip taken out."""
    count = pictures * FRAMES_PER_PICTURE
    aside = (WINDOW - HOP) // 2  # each window is centred on its 10 ms
    padded = np.pad(samples.astype(np.float32), (aside, aside + WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: count * HOP : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), SPECTRUM)) ** 2 / WINDOW
    heard = np.log(power @ bands() + FLOOR)
    return (heard - (heard.mean() if count else 0.0)).astype(np.float32)


def _placed(track: Track, count: int) -> np.ndarray:
    """The track's mouths on the clip's clock, its first and last repeated where it is not seen."""
    nearest = np.clip(np.arange(count) - track.frames[0], 0, len(track.frames) - 1)
    return mouths(track.crops)[nearest]


@cache
def _areas(size: int, wanted: int) -> np.ndarray:
    """(wanted, size) weights that average pixels by the area they share with each wanted pixel."""
    edges = np.linspace(0, size, wanted + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)
    shared = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)
    return (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)


@cache
def bands() -> np.ndarray:
    """(SPECTRUM // 2 + 1, BANDS) triangles, equally wide on the mel scale (O'Shaughnessy 1987) up to 7.6 kHz."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, SPECTRUM // 2 + 1)
    edges = np.linspace(*_mel(np.array([60.0, 7600.0])), BANDS + 2)
    rising = (_mel(hertz)[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - _mel(hertz)[:, None]) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)

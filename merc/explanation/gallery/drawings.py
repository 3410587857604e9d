"""What drawings.html.jinja draws in the gallery: colours, waveforms, spectrograms, faces.

The SVG is the template's own, not matplotlib's: an utterance with its sound and two heat maps takes 20 ms, by
matplotlib 240 (bars 24, a sound 84, a heat map 54), whose page of ten is 1.7 times as large and without titles.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from merc.data.records.encoder_inputs import AudioInput, VisionInput

FOR, AGAINST = (214, 96, 40), (58, 110, 180)  # RGB, also distinct for the colour-blind
WIDTH = 360  # of a drawing, in SVG units
WAVEFORM_COLUMNS = 96  # columns of a waveform
BANDS, FLOOR_DB = 48, -60.0  # rows of a spectrogram; level relative to the loudest at which it is white


def colour(value: float) -> str:
    """CSS colour of a score in [-1, 1]: white at 0, tinted FOR at 1 and AGAINST at -1."""
    strength = min(abs(float(value)), 1.0)
    channels = (round(255 + (channel - 255) * strength * 0.75) for channel in (FOR if value > 0 else AGAINST))
    return f"rgb({','.join(map(str, channels))})"


def largest_score(scored: Sequence[tuple[Any, ...]]) -> float:
    """Largest absolute score, the last of each tuple; 1 if there is none, or none but 0."""
    return max((abs(score) for *_, score in scored if score is not None), default=0.0) or 1.0


def sound_panel(sound: AudioInput, scores: Sequence[tuple[float, float, float]], words: list) -> dict[str, Any]:
    """What the template draws of a sound: scores are (start, end, score), `words` are empty without times."""
    return {
        "seconds": max(len(sound.samples) / sound.rate, scores[-1][1]),
        "scores": scores,
        "words": words,
        "waveform": _waveform(sound.samples),
        "spectrogram": _png(_spectrogram(sound.samples)),
    }


def face_image(faces: VisionInput, time: float, saliency: dict[str, Any] | None = None) -> str:
    """Data URL of the face crop nearest to a time, optionally overlaid with a saliency map."""
    picture = Image.fromarray(faces.crops[int(np.abs(faces.times - time).argmin())]).resize((128, 128))
    if saliency is not None:
        saliency_map = np.array(saliency["map"], np.float32)
        relative = saliency_map / (np.abs(saliency_map).max() or 1.0)
        resized = Image.fromarray(relative).resize((128, 128), Image.Resampling.BICUBIC)
        mask = np.asarray(resized).clip(-1, 1)[..., None]
        tint = np.where(mask > 0, np.array(FOR), np.array(AGAINST))
        mixed = np.asarray(picture) * (1 - 0.7 * np.abs(mask)) + tint * 0.7 * np.abs(mask)
        picture = Image.fromarray(mixed.astype(np.uint8))
    return _png(np.asarray(picture))


def saliency_caption(saliency: dict[str, Any]) -> str:
    """Caption of a saliency map: the value of its strongest colour."""
    largest = float(np.abs(np.array(saliency["map"])).max())
    return f"largest {largest:.2f} log-odds" if saliency["signed"] else "share of the largest"


def _waveform(samples: np.ndarray) -> str:
    """SVG path of one box per column, as high as the peak of its samples."""
    peaks = [float(np.abs(part).max()) if len(part) else 0.0 for part in np.array_split(samples, WAVEFORM_COLUMNS)]
    loudest, step = max(peaks) or 1.0, WIDTH / WAVEFORM_COLUMNS
    width, half_heights = 0.8 * step, [30 * peak / loudest for peak in peaks]
    return "".join(
        f"M{number * step:.1f},{32 - half:.1f}h{width:.1f}v{2 * half:.1f}h-{width:.1f}z"
        for number, half in enumerate(half_heights)
    )


def _spectrogram(samples: np.ndarray) -> np.ndarray:
    """(BANDS, T, 3) uint8, high frequencies on top, darker is louder."""
    size, hop = 512, 160
    padded = np.pad(samples, (0, max(size - len(samples), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1))[:, : size // 2] ** 2
    bands = np.stack([band.mean(1) for band in np.array_split(power, BANDS, axis=1)], axis=1)
    decibels = 10 * np.log10(np.maximum(bands / max(bands.max(), 1e-12), 1e-9))
    grey = (255 * np.clip(decibels / FLOOR_DB, 0, 1)).astype(np.uint8)
    return np.repeat(grey.T[::-1, :, None], 3, axis=2)


def _png(pixels: np.ndarray) -> str:
    """Data URL."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

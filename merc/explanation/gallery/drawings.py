"""Drawings of the gallery as SVG and PNG data: bars, arcs, sounds, faces, attention."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from merc.data.records.encoder_inputs import VisionInput

FOR, AGAINST = (214, 96, 40), (58, 110, 180)  # RGB, also distinct for the colour-blind
WIDTH = 360  # of a drawing, in SVG units
WAVEFORM_COLUMNS = 96  # columns of a waveform
BANDS, FLOOR_DB = 48, -60.0  # rows of a spectrogram; level relative to the loudest at which it is white


def colour(value: float) -> str:
    """CSS colour of a score in [-1, 1]: white at 0, tinted FOR at 1 and AGAINST at -1."""
    strength = min(abs(float(value)), 1.0)
    channels = (round(255 + (channel - 255) * strength * 0.75) for channel in (FOR if value > 0 else AGAINST))
    return f"rgb({','.join(map(str, channels))})"


def bar_chart(rows: Sequence[tuple[str, float | None]], unit: str) -> str:
    """Horizontal bars of named scores, from a line at zero; None is labelled absent."""
    largest = max([abs(score) for _, score in rows if score is not None], default=0.0) or 1.0
    middle, reach, drawn = 205, 95, []
    for number, (name, score) in enumerate(rows):
        y = 24 * number
        drawn.append(f'<text x="0" y="{y + 16}" font-size="12">{escape(name)}</text>')
        if score is None:
            drawn.append(f'<text x="{middle + 6}" y="{y + 16}" font-size="12" fill="#5b6675">absent</text>')
            continue
        length = reach * abs(score) / largest
        x = middle if score >= 0 else middle - length
        drawn.append(
            f'<rect x="{x:.1f}" y="{y + 5}" width="{length:.1f}" height="14" fill="{colour(np.sign(score))}"/>'
        )
        drawn.append(f'<text x="{WIDTH}" y="{y + 16}" font-size="12" text-anchor="end">{score:+.2f}</text>')
    height = 24 * len(rows)
    drawn.append(f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height}" stroke="#5b6675"/>')
    drawn.append(
        f'<text x="{middle}" y="{height + 14}" font-size="11" fill="#5b6675" text-anchor="middle">{unit}</text>'
    )
    return _svg(height + 20, drawn)


def influence_arcs(influence: Sequence[tuple[int, float]], row: int) -> str:
    """Turns of a dialogue on a line, with an arc from each to turn `row`, as wide as its influence."""
    largest = max([abs(score) for _, score in influence], default=0.0) or 1.0
    gap = (WIDTH - 40) / max(len(influence) - 1, 1)
    centres = [20 + gap * number for number in range(len(influence))]
    base, drawn = 96, []
    for turn, score in influence:
        strength, ink = abs(score) / largest, colour(np.sign(score))
        if turn != row:
            rise = min(80.0, 18 + 0.35 * abs(centres[row] - centres[turn]))
            middle = (centres[row] + centres[turn]) / 2
            path = f"M{centres[turn]:.1f},{base} Q{middle:.1f},{base - 2 * rise:.1f} {centres[row]:.1f},{base}"
            drawn.append(f'<path d="{path}" fill="none" stroke="{ink}" stroke-width="{0.5 + 6 * strength:.1f}"/>')
    for turn, score in influence:
        edge = "#1c2430" if turn == row else "none"
        circle = f'cx="{centres[turn]:.1f}" cy="{base}" r="{3 + 6 * abs(score) / largest:.1f}"'
        drawn.append(f'<circle {circle} fill="{colour(np.sign(score))}" stroke="{edge}" stroke-width="2"/>')
        size = 11 if gap > 38 else 8  # a score has 5 characters
        for y, label in ((base + 24, str(turn)), (base + 38, f"{score:+.2f}" if gap > 26 else "")):
            drawn.append(
                f'<text x="{centres[turn]:.1f}" y="{y}" font-size="{size}" text-anchor="middle">{label}</text>'
            )
    note = "turn, and its share of the log-odds; ringed: the utterance itself"
    drawn.append(
        f'<text x="{WIDTH / 2}" y="{base + 54}" font-size="11" fill="#5b6675" text-anchor="middle">{note}</text>'
    )
    return _svg(base + 60, drawn)


def sound_panel(samples: np.ndarray, rate: int, scores: Sequence[tuple[float, float, float]], words: list) -> str:
    """Waveform, spectrogram, a strip of scores and the words, if their times are known, on one time axis."""
    seconds = max(len(samples) / rate, scores[-1][1])
    x = lambda second: WIDTH * min(second, seconds) / seconds  # noqa: E731 (one line, used only in this function)
    drawn = [f'<path d="{_waveform(samples)}" fill="#5b6675"/>']
    png = _png(_spectrogram(samples))
    drawn.append(f'<image x="0" y="66" width="{WIDTH}" height="70" preserveAspectRatio="none" href="{png}"/>')
    drawn.append('<text x="2" y="76" font-size="9" fill="#5b6675">8 kHz</text>')
    largest = max(abs(score) for *_, score in scores) or 1.0
    for start, end, score in scores:
        box = f'x="{x(start):.1f}" y="140" width="{max(x(end) - x(start), 0.5):.1f}" height="16"'
        drawn.append(f'<rect {box} fill="{colour(score / largest)}"><title>{score:+.3f}</title></rect>')
    for number, word in enumerate(words):
        y = 168 + 10 * (number % 2)
        drawn.append(f'<text x="{x(word["start"]):.1f}" y="{y}" font-size="9">{escape(word["word"])}</text>')
    bottom = 182 if words else 160
    for second in range(int(seconds) + 1):
        anchor = "start" if second == 0 else "end" if x(second) > WIDTH - 12 else "middle"
        drawn.append(
            f'<text x="{x(second):.1f}" y="{bottom + 10}" font-size="10" text-anchor="{anchor}">{second} s</text>'
        )
    drawn.append(
        f'<text x="{WIDTH}" y="{bottom + 22}" font-size="10" fill="#5b6675" text-anchor="end">'
        f"waveform, spectrogram (0-8 kHz), score; largest {largest:.2f}</text>"
    )
    return _svg(bottom + 26, drawn)


def heat_map(weights: Sequence[Sequence[float]], row_names: Sequence[str], column_names: Sequence[str]) -> str:
    """Heat map of weights, with names of its rows and columns."""
    table, left, top, cell_height = np.array(weights), 84, 78, 14
    right = 36  # room for the rotated name of the last column
    cell_width, drawn = (WIDTH - left - right) / table.shape[1], []
    for (row, column), value in np.ndenumerate(table / max(table.max(), 1e-9)):
        x, y = left + cell_width * column, top + cell_height * row
        box = f'x="{x:.1f}" y="{y}" width="{cell_width:.1f}" height="{cell_height}"'
        drawn.append(f'<rect {box} fill="{colour(value)}"><title>{table[row, column]:.3f}</title></rect>')
    for row, name in enumerate(row_names):
        position = f'x="{left - 4}" y="{top + cell_height * row + 11}" text-anchor="end"'
        drawn.append(f'<text {position} font-size="9">{_short(name)}</text>')
    for column, name in enumerate(column_names):
        if column % max(1, round(9 / cell_width)) == 0:
            x = left + cell_width * (column + 0.5)
            drawn.append(
                f'<text transform="translate({x:.1f},{top - 4}) rotate(-60)" font-size="9">{_short(name)}</text>'
            )
    height = top + cell_height * len(table)
    drawn.append(
        f'<text x="{left}" y="{height + 12}" font-size="10" fill="#5b6675">darkest: {table.max():.2f}</text>'
    )
    return _svg(height + 16, drawn)


def face_image(faces: VisionInput, time: float, saliency: dict[str, Any] | None = None) -> str:
    """Data URL of the face crop nearest to a time, optionally overlaid with a saliency map."""
    from PIL import Image

    picture = Image.fromarray(faces.crops[int(np.abs(faces.times - time).argmin())]).resize((128, 128))
    if saliency is not None:
        saliency_map = np.array(saliency["map"], np.float32)
        relative = saliency_map / (np.abs(saliency_map).max() or 1.0)
        mask = np.asarray(Image.fromarray(relative).resize((128, 128), Image.Resampling.BICUBIC)).clip(-1, 1)[
            ..., None
        ]
        tint = np.where(mask > 0, np.array(FOR), np.array(AGAINST))
        mixed = np.asarray(picture) * (1 - 0.7 * np.abs(mask)) + tint * 0.7 * np.abs(mask)
        picture = Image.fromarray(mixed.astype(np.uint8))
    return _png(np.asarray(picture))


def saliency_caption(saliency: dict[str, Any]) -> str:
    """Caption of a saliency map: the value of its strongest colour."""
    largest = float(np.abs(np.array(saliency["map"])).max())
    return f"largest {largest:.2f} log-odds" if saliency["signed"] else "share of the largest"


def _short(name: str) -> str:
    return escape(name if len(name) <= 14 else name[:13] + "…")


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
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _svg(height: float, drawn: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">{"".join(drawn)}</svg>'

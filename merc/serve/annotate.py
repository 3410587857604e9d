"""A film of the answers: the recordings with the speaker's face framed, emotion bars, and a timeline below."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from moviepy import AudioFileClip, ColorClip, VideoClip, VideoFileClip, concatenate_videoclips
from PIL import Image, ImageDraw, ImageFont

from merc import media
from merc.problem import Problem
from merc.serve.dialogue import Dialogue, Utterance
from merc.serve.outputs import best, plain
from merc.tracks import RATE

LEAST_WIDTH, BARS, LINE = 640, 168, 30  # pixels: of the film, of the bars beside the picture, of a line below it
RATE_OF_STILLS = 12  # pictures a second where a recording has none
WHITE, GREY, EMPTY, DARK = (240, 240, 240), (170, 170, 170), (64, 64, 64), (24, 24, 24)
# RGB, told apart by colour-blind eyes too (Okabe and Ito 2008); more labels begin anew
COLOURS = (
    (153, 153, 153),
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
)


@dataclass(frozen=True)
class Scene:
    """A recording's utterances with their rows and the boxes of the speaker's face at RATE."""

    path: Path
    utterances: list[Utterance]
    rows: list[dict[str, Any]]
    seconds: float
    begin: float  # seconds of the film

    def at(self, time: float) -> int | None:
        """Which utterance is heard."""
        heard = (index for index, one in enumerate(self.utterances) if one.start <= time < one.end)
        return next(heard, None)


def write(path: Path, rows: Sequence[dict[str, Any]], dialogue: Dialogue) -> None:
    """Write the film; recordings follow one another, each fitted into the size of the first picture."""
    if path.suffix.lower() != ".mp4":
        raise Problem(f"--annotate {path.name}: the film is an .mp4")
    clips: list[VideoClip] = []
    try:
        scenes = _scenes(rows, dialogue)
        size = _size(scenes)
        strip = _strip(scenes, size[0] + BARS)
        for scene in scenes:
            clips.append(_drawn(scene, size, strip, scenes[-1].begin + scenes[-1].seconds))
        film = concatenate_videoclips(clips) if len(clips) > 1 else clips[0]
        with tempfile.TemporaryDirectory(prefix="merc-annotate-") as aside, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "In file .* bytes wanted")  # pictures end first: the last one stays
            film.write_videofile(
                str(path), codec="libx264", audio_codec="aac", preset="veryfast", logger=None, threads=1,
                fps=max(clip.fps for clip in clips), temp_audiofile_path=aside,
            )  # fmt: skip
    finally:
        for clip in clips:
            clip.close()


def _scenes(rows: Sequence[dict[str, Any]], dialogue: Dialogue) -> list[Scene]:
    grouped: list[tuple[list[Utterance], list[dict[str, Any]]]] = []
    for one, row in zip(dialogue, rows, strict=True):
        if not grouped or "#" not in one.name or grouped[-1][0][-1].source != one.source:
            grouped.append(([], []))
        grouped[-1][0].append(one)
        grouped[-1][1].append(row)
    scenes, begin = [], 0.0
    for own, told in grouped:
        seconds = max(media.seconds(own[0].source) or 0.0, own[-1].end, 0.1)
        scenes.append(Scene(own[0].source, own, told, seconds, begin))
        begin += seconds
    return scenes


def _size(scenes: Sequence[Scene]) -> tuple[int, int]:
    """Width and height of the picture in the film, even numbers."""
    picture = next((p for scene in scenes for one in scene.utterances if (p := one.picture) is not None), None)
    height, width = (360, 640) if picture is None else picture.shape[:2]
    scale = max(1.0, LEAST_WIDTH / width)
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2


def _drawn(scene: Scene, size: tuple[int, int], strip: np.ndarray, length: float) -> VideoClip:
    seen = any("vision" not in one.missing for one in scene.utterances)
    source = VideoFileClip(str(scene.path), audio=False) if seen else _dark(size, scene.seconds)
    tracks = {index: one.face for index, one in enumerate(scene.utterances)}
    beside = {index: _bars(row, size[1]) for index, row in enumerate([*scene.rows, None])}
    below = {index: _said(row, strip.shape[1]) for index, row in enumerate([*scene.rows, None])}

    def frame(get: Callable[[float], np.ndarray], time: float) -> np.ndarray:
        index = scene.at(time)
        picture, place = _fitted(get(time), size)
        if index is not None:
            _frame_face(picture, tracks[index], time - scene.utterances[index].start, place)
        told = len(scene.rows) if index is None else index
        now = _now(strip, (scene.begin + time) / length)
        return np.vstack([np.hstack([picture, beside[told]]), below[told], now])

    clip = source.transform(frame).with_fps(min(source.fps, 30))
    if any(one.samples is not None for one in scene.utterances):
        sound = AudioFileClip(str(scene.path))
        clip = clip.with_audio(sound.subclipped(0, min(sound.duration, clip.duration)))
    return clip


def _dark(size: tuple[int, int], seconds: float) -> VideoClip:
    return ColorClip(size, DARK, duration=seconds).with_fps(RATE_OF_STILLS)


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[float, int, int]]:
    """The picture within the size, black around; and its scale and place."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inside = cv2.resize(picture, (max(round(width * scale), 1), max(round(height * scale), 1)))
    left, top = (size[0] - inside.shape[1]) // 2, (size[1] - inside.shape[0]) // 2
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside[:, :, :3]
    return whole, (scale, left, top)


def _frame_face(picture: np.ndarray, track: Any, time: float, place: tuple[float, int, int]) -> None:
    if track is None:
        return
    index = round(time * RATE) - int(track.frames[0])
    if 0 <= index < len(track.frames):
        scale, left, top = place
        x, y, width, height = track.boxes[index] * scale
        corner = (round(float(x)) + left, round(float(y)) + top)
        opposite = (corner[0] + round(float(width)), corner[1] + round(float(height)))
        cv2.rectangle(picture, corner, opposite, WHITE, 2, cv2.LINE_AA)


def _bars(row: dict[str, Any] | None, height: int) -> np.ndarray:
    """What the utterance is taken for, one bar an emotion."""
    panel = Image.new("RGB", (BARS, height), DARK)
    if row is None:
        return np.asarray(panel)
    pen, step = ImageDraw.Draw(panel), max(min(height // (len(row["emotion"]) + 2), 38), 22)
    for number, (label, chance) in enumerate(row["emotion"].items()):
        top, right = number * step + 4, BARS - 10
        pen.text((8, top), label, WHITE, _font(13))
        pen.text((right, top), f"{100 * chance:.0f} %", WHITE, _font(13), anchor="ra")
        pen.rectangle((8, top + 17, right, top + 17 + step // 5), EMPTY)
        end = 8 + round(chance * (right - 8))
        pen.rectangle((8, top + 17, end, top + 17 + step // 5), COLOURS[number % len(COLOURS)])
    notes = [best(row["sentiment"]), *(["unsure"] if row["abstains"] else [])]
    pen.text((8, len(row["emotion"]) * step + 8), "\n".join(notes), GREY, _font(13))
    return np.asarray(panel)


def _said(row: dict[str, Any] | None, width: int) -> np.ndarray:
    """Who says what."""
    line = Image.new("RGB", (width, LINE), DARK)
    if row is not None:
        speaker = f"{row['speaker']}: " if row["speaker"] else ""
        ImageDraw.Draw(line).text((8, 6), plain(speaker + row["text"]) or best(row["emotion"]), WHITE, _font(15))
    return np.asarray(line)


def _strip(scenes: Sequence[Scene], width: int) -> np.ndarray:
    """The timeline of the film: every utterance in the colour of its emotion."""
    strip = np.full((LINE, width, 3), DARK, np.uint8)
    pixels = width / (scenes[-1].begin + scenes[-1].seconds)
    for scene in scenes:
        for one, row in zip(scene.utterances, scene.rows, strict=True):
            first, last = (round((scene.begin + edge) * pixels) for edge in (one.start, one.end))
            colour = COLOURS[list(row["emotion"]).index(row["prediction_set"][0]) % len(COLOURS)]
            cv2.rectangle(strip, (first + 1, 6), (max(last - 2, first + 1), LINE - 7), colour, -1)
    return strip


def _now(strip: np.ndarray, share: float) -> np.ndarray:
    """The timeline with a line at this share of the film."""
    marked, place = strip.copy(), min(round(share * strip.shape[1]), strip.shape[1] - 2)
    cv2.rectangle(marked, (place - 1, 1), (place + 1, LINE - 2), WHITE, -1)
    return marked


@cache
def _font(size: int) -> Any:
    """DejaVu Sans, which has most of Europe's letters, from matplotlib's wheel; else Pillow's own."""
    found = find_spec("matplotlib")
    file = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if found and found.origin else None
    return ImageFont.truetype(str(file), size) if file and file.is_file() else ImageFont.load_default(size)

"""A film of the answers: the recordings with the speaker's face framed, emotion bars, and a timeline below."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from moviepy import AudioFileClip, ColorClip, VideoClip, VideoFileClip, concatenate_videoclips

from merc import media
from merc.problem import Problem
from merc.serve.dialogue import Dialogue, Utterance
from merc.serve.outputs import best, plain
from merc.tracks import RATE

LEAST_WIDTH, BARS, LINE = 640, 150, 26  # pixels: of the film, of the bars beside the picture, of the timeline
RATE_OF_STILLS = 12  # pictures a second where a recording has none
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, GREY, DARK = (240, 240, 240), (120, 120, 120), (24, 24, 24)
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
        for scene in scenes:
            clips.append(_drawn(scene, size))
        film = concatenate_videoclips(clips) if len(clips) > 1 else clips[0]
        with tempfile.TemporaryDirectory(prefix="merc-annotate-") as aside:
            film.write_videofile(
                str(path), codec="libx264", audio_codec="aac", preset="veryfast", logger=None, threads=1,
                fps=min(max(clip.fps or RATE for clip in clips), 30), temp_audiofile_path=aside,
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
    return [
        Scene(own[0].source, own, told, max(media.seconds(own[0].source) or 0.0, own[-1].end, 0.1))
        for own, told in grouped
    ]


def _size(scenes: Sequence[Scene]) -> tuple[int, int]:
    """Width and height of the picture in the film, even numbers."""
    picture = next((p for scene in scenes for one in scene.utterances if (p := one.picture) is not None), None)
    height, width = (360, 640) if picture is None else picture.shape[:2]
    scale = max(1.0, LEAST_WIDTH / width)
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2


def _drawn(scene: Scene, size: tuple[int, int]) -> VideoClip:
    seen = any("vision" not in one.missing for one in scene.utterances)
    source = VideoFileClip(str(scene.path), audio=False) if seen else ColorClip(size, DARK, duration=scene.seconds)
    tracks = {index: one.face for index, one in enumerate(scene.utterances)}

    def frame(get: Callable[[float], np.ndarray], time: float) -> np.ndarray:
        index = scene.at(time)
        picture, place = _fitted(get(time), size)
        if index is not None:
            _frame_face(picture, tracks[index], time - scene.utterances[index].start, place)
        side = _bars(scene.rows[index] if index is not None else None, size[1])
        return np.vstack([np.hstack([picture, side]), _timeline(scene, time, size[0] + BARS)])

    clip = source.transform(frame).with_fps(min(source.fps or RATE_OF_STILLS, 30))
    if any(one.samples is not None for one in scene.utterances):
        sound = AudioFileClip(str(scene.path))
        clip = clip.with_audio(sound.subclipped(0, min(sound.duration, clip.duration)))
    return clip


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
    panel = np.full((height, BARS, 3), DARK, np.uint8)
    if row is None:
        return panel
    step = max(min(height // (len(row["emotion"]) + 2), 34), 14)
    for number, (label, chance) in enumerate(row["emotion"].items()):
        base = (number + 1) * step
        cv2.putText(panel, label, (6, base - 6), FONT, 0.38, WHITE, 1, cv2.LINE_AA)
        cv2.rectangle(panel, (6, base - 3), (BARS - 8, base + 1), (60, 60, 60), -1)
        end = 6 + round(chance * (BARS - 14))
        cv2.rectangle(panel, (6, base - 3), (end, base + 1), COLOURS[number % len(COLOURS)], -1)
    base = (len(row["emotion"]) + 1) * step + 4
    cv2.putText(panel, best(row["sentiment"]), (6, base), FONT, 0.38, GREY, 1, cv2.LINE_AA)
    if row["abstains"]:
        cv2.putText(panel, "unsure", (6, base + 14), FONT, 0.38, GREY, 1, cv2.LINE_AA)
    return panel


def _timeline(scene: Scene, time: float, width: int) -> np.ndarray:
    """Every utterance in the colour of its emotion, and now."""
    strip = np.full((2 * LINE, width, 3), DARK, np.uint8)
    for one, row in zip(scene.utterances, scene.rows, strict=True):
        first, last = (round(edge / scene.seconds * width) for edge in (one.start, one.end))
        order = list(row["emotion"])
        colour = COLOURS[order.index(row["prediction_set"][0]) % len(COLOURS)]
        cv2.rectangle(strip, (first + 1, LINE + 6), (max(last - 2, first + 1), 2 * LINE - 6), colour, -1)
    now = round(time / scene.seconds * width)
    cv2.line(strip, (now, LINE + 2), (now, 2 * LINE - 2), WHITE, 1)
    if (index := scene.at(time)) is not None:
        row = scene.rows[index]
        said = plain(f"{row['speaker'] + ': ' if row['speaker'] else ''}{row['text']}") or best(row["emotion"])
        letters = said.encode("ascii", "replace").decode()  # all that OpenCV can write
        cv2.putText(strip, letters[: width // 8], (6, LINE - 8), FONT, 0.45, WHITE, 1, cv2.LINE_AA)
    return strip

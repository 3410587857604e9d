"""--annotate: a video of the recordings with the speaker's face framed, emotion bars, and a timeline below."""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from moviepy import AudioFileClip, ColorClip, VideoClip, VideoFileClip, concatenate_videoclips
from PIL import Image, ImageColor, ImageDraw, ImageFont

from merc.data.records.face_tracks import TRACK_FPS
from merc.media import clip_reader
from merc.runtime.errors import UserError
from merc.serve.commands.outputs import printable
from merc.serve.predictor import answers
from merc.serve.predictor.dialogue import Dialogue, RecordedUtterance

# pixels: minimum width of the picture, width of the bars beside it, height of a line below it
MIN_WIDTH, PANEL_WIDTH, LINE_HEIGHT = 640, 168, 30
STILL_FPS = 12  # frames per second for a recording without pictures
WHITE, GREY, EMPTY, DARK = (240, 240, 240), (170, 170, 170), (64, 64, 64), (24, 24, 24)
# RGB of labels whose space gives none; safe for colour blindness (Okabe and Ito 2008); with more labels they repeat
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
class RecordingScene:
    """A recording with its utterances and their rows."""

    path: Path
    utterances: list[RecordedUtterance]
    rows: list[dict[str, Any]]
    seconds: float
    begin: float  # seconds in the written video
    colours: Mapping[str, str]  # label -> #rrggbb, of labels that have one

    def at(self, time: float) -> int | None:
        """Index of the utterance at this time of the recording, if any."""
        return next(
            (index for index, utterance in enumerate(self.utterances) if utterance.start <= time < utterance.end),
            None,
        )


def write_annotated_video(
    path: Path, rows: Sequence[dict[str, Any]], dialogue: Dialogue, colours: Mapping[str, str]
) -> None:
    """Write the video; recordings follow one another, each fitted into the size of the first picture.

    `colours` are those that the label space gives to labels, as #rrggbb.
    """
    if path.suffix.lower() != ".mp4":
        raise UserError(f"--annotate {path.name}: the film is an .mp4")
    clips: list[VideoClip] = []
    try:
        scenes = _scenes(rows, dialogue, colours)
        size = _size(scenes)
        timeline = _timeline(scenes, size[0] + PANEL_WIDTH)
        for scene in scenes:
            clips.append(_annotated(scene, size, timeline, scenes[-1].begin + scenes[-1].seconds))
        video = concatenate_videoclips(clips) if len(clips) > 1 else clips[0]
        with tempfile.TemporaryDirectory(prefix="merc-annotate-") as folder, warnings.catch_warnings():
            # moviepy repeats the last picture where pictures end before the sound
            warnings.filterwarnings("ignore", "In file .* bytes wanted")
            video.write_videofile(
                str(path), codec="libx264", audio_codec="aac", preset="veryfast", logger=None, threads=1,
                fps=max(clip.fps for clip in clips),  # pyright: ignore[reportAttributeAccessIssue]  # with_fps sets it
                temp_audiofile_path=folder,
            )  # fmt: skip
    finally:
        for clip in clips:
            clip.close()


def _scenes(rows: Sequence[dict[str, Any]], dialogue: Dialogue, colours: Mapping[str, str]) -> list[RecordingScene]:
    """Group utterances by recording; "#" in a name marks a part of a recording that was cut."""
    groups: list[tuple[list[RecordedUtterance], list[dict[str, Any]]]] = []
    for utterance, row in zip(dialogue, rows, strict=True):
        if not groups or "#" not in utterance.name or groups[-1][0][-1].source != utterance.source:
            groups.append(([], []))
        groups[-1][0].append(utterance)
        groups[-1][1].append(row)
    scenes, begin = [], 0.0
    for utterances, scene_rows in groups:
        source = cast("Path", utterances[0].source)  # None in a stream only
        seconds = max(clip_reader.clip_duration(source) or 0.0, utterances[-1].end, 0.1)
        scenes.append(RecordingScene(source, utterances, scene_rows, seconds, begin, colours))
        begin += seconds
    return scenes


def _size(scenes: Sequence[RecordingScene]) -> tuple[int, int]:
    """Width and height of the picture in the video, even numbers."""
    pictures = (utterance.picture for scene in scenes for utterance in scene.utterances)
    picture = next((picture for picture in pictures if picture is not None), None)
    height, width = (360, 640) if picture is None else picture.shape[:2]
    scale = max(1.0, MIN_WIDTH / width)
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2


def _annotated(scene: RecordingScene, size: tuple[int, int], timeline: np.ndarray, length: float) -> VideoClip:
    """The recording with annotations; `length` is that of the whole video in seconds."""
    has_pictures = any("vision" not in utterance.missing for utterance in scene.utterances)
    source = VideoFileClip(str(scene.path), audio=False) if has_pictures else _dark(size, scene.seconds)
    tracks = {index: utterance.face for index, utterance in enumerate(scene.utterances)}
    # the last panel and line, len(scene.rows), are empty: for times outside of all utterances
    panels = {index: _bars(row, size[1], scene.colours) for index, row in enumerate([*scene.rows, None])}
    lines = {index: _text_line(row, timeline.shape[1]) for index, row in enumerate([*scene.rows, None])}

    def frame(get: Callable[[float], np.ndarray], time: float) -> np.ndarray:
        index = scene.at(time)
        picture, placement = _letterbox(get(time), size)
        if index is not None:
            _frame_face(picture, tracks[index], time - scene.utterances[index].start, placement)
        panel = len(scene.rows) if index is None else index
        marked = _mark_time(timeline, (scene.begin + time) / length)
        return np.vstack([np.hstack([picture, panels[panel]]), lines[panel], marked])

    fps = source.fps  # pyright: ignore[reportAttributeAccessIssue]  # of a file, or set by with_fps
    clip = source.transform(frame).with_fps(min(fps, 30))
    if any(utterance.samples is not None for utterance in scene.utterances):
        sound = AudioFileClip(str(scene.path))
        clip = clip.with_audio(sound.subclipped(0, min(sound.duration, clip.duration)))
    return clip


def _dark(size: tuple[int, int], seconds: float) -> VideoClip:
    return cast("VideoClip", ColorClip(size, DARK, duration=seconds).with_fps(STILL_FPS))


def _letterbox(picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[float, int, int]]:
    """The picture fitted into the size on black, and its scale, left and top."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    resized = cv2.resize(picture, (max(round(width * scale), 1), max(round(height * scale), 1)))
    left, top = (size[0] - resized.shape[1]) // 2, (size[1] - resized.shape[0]) // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized[:, :, :3]
    return canvas, (scale, left, top)


def _frame_face(picture: np.ndarray, track: Any, time: float, placement: tuple[float, int, int]) -> None:
    """Draw the box of the face at `time` seconds of the utterance into the picture."""
    if track is None:
        return
    index = round(time * TRACK_FPS) - int(track.frames[0])
    if 0 <= index < len(track.frames):
        scale, left, top = placement
        x, y, width, height = track.boxes[index] * scale
        corner = (round(float(x)) + left, round(float(y)) + top)
        opposite = (corner[0] + round(float(width)), corner[1] + round(float(height)))
        cv2.rectangle(picture, corner, opposite, WHITE, 2, cv2.LINE_AA)


def _bars(row: dict[str, Any] | None, height: int, colours: Mapping[str, str]) -> np.ndarray:
    """Bars of the first task's probabilities, and what the others say; empty without a row."""
    panel = Image.new("RGB", (PANEL_WIDTH, height), DARK)
    if row is None:
        return np.asarray(panel)
    lead, *others = answers.of_row(row)
    bars = row[lead] if answers.kind(row, lead) != "regression" else {}
    pen, step = ImageDraw.Draw(panel), max(min(height // (len(bars) + 2), 38), 22)
    for number, (label, probability) in enumerate(bars.items()):
        top, right = number * step + 4, PANEL_WIDTH - 10
        pen.text((8, top), label, WHITE, _font(13))
        pen.text((right, top), f"{100 * probability:.0f} %", WHITE, _font(13), anchor="ra")
        pen.rectangle((8, top + 17, right, top + 17 + step // 5), EMPTY)
        end = 8 + round(probability * (right - 8))
        pen.rectangle((8, top + 17, end, top + 17 + step // 5), _colour(label, number, colours))
    said = [answers.in_words(row, task) for task in (others if bars else (lead, *others))]
    notes = [*(said or ["-"]), *(["unsure"] if row["abstains"] else [])]
    pen.text((8, len(bars) * step + 8), "\n".join(notes), GREY, _font(13))
    return np.asarray(panel)


def _text_line(row: dict[str, Any] | None, width: int) -> np.ndarray:
    """Speaker and text, or the predicted emotion without a text; empty without a row."""
    line = Image.new("RGB", (width, LINE_HEIGHT), DARK)
    if row is not None:
        speaker = f"{row['speaker']}: " if row["speaker"] else ""
        ImageDraw.Draw(line).text(
            (8, 6), printable(speaker + row["text"]) or answers.in_words(row, answers.lead(row)), WHITE, _font(15)
        )
    return np.asarray(line)


def _timeline(scenes: Sequence[RecordingScene], width: int) -> np.ndarray:
    """Timeline of the video: a bar per utterance in the colour of its emotion."""
    timeline = np.full((LINE_HEIGHT, width, 3), DARK, np.uint8)
    pixels_per_second = width / (scenes[-1].begin + scenes[-1].seconds)
    for scene in scenes:
        for utterance, row in zip(scene.utterances, scene.rows, strict=True):
            first, last = (
                round((scene.begin + time) * pixels_per_second) for time in (utterance.start, utterance.end)
            )
            colour = _likeliest_colour(row, scene.colours)
            cv2.rectangle(timeline, (first + 1, 6), (max(last - 2, first + 1), LINE_HEIGHT - 7), colour, -1)
    return timeline


def _likeliest_colour(row: dict[str, Any], colours: Mapping[str, str]) -> tuple[int, ...]:
    """The colour of the likeliest class; grey of a number, and where no class holds."""
    if not row["prediction_set"]:
        return COLOURS[0]
    likeliest = row["prediction_set"][0]
    classes = next(list(answer) for answer in answers.of_row(row).values() if likeliest in answer)
    return _colour(likeliest, classes.index(likeliest), colours)


def _colour(label: str, number: int, colours: Mapping[str, str]) -> tuple[int, ...]:
    """RGB of the label, the `number`-th of its task."""
    return ImageColor.getrgb(colours[label]) if label in colours else COLOURS[number % len(COLOURS)]


def _mark_time(timeline: np.ndarray, fraction: float) -> np.ndarray:
    """A copy of the timeline with a mark at this fraction of its width."""
    marked, x = timeline.copy(), min(round(fraction * timeline.shape[1]), timeline.shape[1] - 2)
    cv2.rectangle(marked, (x - 1, 1), (x + 1, LINE_HEIGHT - 2), WHITE, -1)
    return marked


@cache
def _font(size: int) -> Any:
    """DejaVu Sans, which covers most European letters, from matplotlib's wheel; else Pillow's default font."""
    spec = find_spec("matplotlib")
    path = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if spec and spec.origin else None
    return ImageFont.truetype(str(path), size) if path and path.is_file() else ImageFont.load_default(size)

"""Inputs of the encoders: an utterance's text, sound or face, read from the output of extract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from merc.data.records import face_tracks, media_files
from merc.data.records import manifest as manifests
from merc.data.records.face_tracks import Track
from merc.runtime.errors import UserError
from merc.runtime.results import read_json

if TYPE_CHECKING:
    import pandas as pd

InputT = TypeVar("InputT")
SAMPLE_RATE = 16_000  # samples a second of every extracted wav
FULL_SCALE = 32768  # of 16-bit samples


@dataclass(frozen=True)
class TextInput:
    """Text input: the utterance, its speaker, and the utterances around it."""

    text: str
    speaker: str
    before: tuple[TextInput, ...] = ()  # earlier utterances of the dialogue, the nearest last
    after: tuple[TextInput, ...] = ()  # later ones, the nearest first


@dataclass(frozen=True)
class AudioInput:
    """Audio input: the utterance's waveform."""

    samples: np.ndarray  # (samples,) float32, mono, -1 to 1
    rate: int = SAMPLE_RATE
    start: float = 0.0  # seconds in the clip, on the clock of its face tracks, at which the samples begin


@dataclass(frozen=True)
class VisionInput:
    """Vision input: one face throughout the utterance, or whole frames where there is no face."""

    crops: np.ndarray  # (F, height, width, 3) uint8
    boxes: np.ndarray  # (F, 4): left, top, width, height in source pixels
    times: np.ndarray  # (F,) seconds


def waveform(samples: np.ndarray) -> np.ndarray:
    """(samples,) float32 from -1 to 1, of int16 samples."""
    return samples.astype(np.float32) / FULL_SCALE


BLACK_PICTURE = VisionInput(
    np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 4), np.float32), np.zeros(1, np.float32)
)
TrackChooser = Callable[[list[Track], AudioInput | None], int | None]
CONTEXT_UTTERANCES = 16  # utterances of context on either side of a line


def largest_track(tracks: list[Track], sound: AudioInput | None = None) -> int | None:
    """Index of the track with the largest total face area over its frames; None without tracks."""
    areas = [float((track.boxes[:, 2] * track.boxes[:, 3]).sum()) for track in tracks]
    return int(np.argmax(areas)) if areas else None


def _read(
    modality: str, read: Callable[[Path, Any], InputT], folder: Path, rows: pd.DataFrame
) -> list[InputT | None]:
    """One modality's inputs of rows of the folder's manifest; None where it is missing."""
    is_missing = rows[f"{modality}_status"] == manifests.MISSING
    return [None if gone else read(folder, row) for row, gone in zip(rows.itertuples(), is_missing, strict=True)]


def text_inputs(folder: Path, rows: pd.DataFrame) -> list[TextInput | None]:
    """Text inputs (or None) of rows that form whole dialogues, with context."""
    return add_context(_read("text", _read_text, folder, rows), rows["dialogue"].tolist())


def audio_inputs(folder: Path, rows: pd.DataFrame) -> list[AudioInput | None]:
    """Audio inputs (or None) of the rows."""
    return _read("audio", _read_audio, folder, rows)


def face_inputs(folder: Path, rows: pd.DataFrame, choose: TrackChooser = largest_track) -> list[VisionInput | None]:
    """Vision inputs (or None) of the rows: the chosen face, or the whole frame."""
    return _read("vision", partial(_read_face, choose), folder, rows)


def frame_inputs(folder: Path, rows: pd.DataFrame) -> list[VisionInput | None]:
    """Vision inputs (or None) of the rows: frames at extract.video.fps, or the single one of a very short clip."""
    return _read("vision", partial(_read_series, _frame_rate(folder)), folder, rows)


def _frame_rate(folder: Path) -> float:
    """Frames per second that extract wrote."""
    file = folder / manifests.FRAMES_RATE
    if not file.is_file():
        raise UserError(
            f"{folder}: encode.vision.picture is frames and extract.video.fps is 0; "
            f"set extract.video.fps to the pictures a second that you want"
        )
    return read_json(file)["fps"]


def _read_series(rate: float, folder: Path, row: Any) -> VisionInput:
    """Whole frames of an utterance; frames/<utterance>/<number>.jpg is at number / rate seconds."""
    series = media_files.open_series(folder, row.frame, row.utterance)
    return frame_series_input(series, media_files.open_media(folder, row.frame), rate)


def frame_series_input(series: Sequence[Path | BinaryIO], frame: Path | BinaryIO, rate: float) -> VisionInput:
    """Vision input from image files at `rate` per second; from the single `frame` where a clip is too short."""
    if not series:
        return whole_frame(frame)
    pictures = [whole_frame(file) for file in series]
    times = np.arange(len(pictures), dtype=np.float32) / rate
    crops, boxes = (np.concatenate([getattr(picture, name) for picture in pictures]) for name in ("crops", "boxes"))
    return VisionInput(crops, boxes, times)


def add_context(lines: list[TextInput | None], dialogues: list[str]) -> list[TextInput | None]:
    """Add the context to lines in order; `dialogues` holds each line's dialogue id."""
    return [
        line and replace(line, before=_near(lines, dialogues, index, -1), after=_near(lines, dialogues, index, 1))
        for index, line in enumerate(lines)
    ]


def _near(lines: list[TextInput | None], dialogues: list[str], index: int, direction: int) -> tuple[TextInput, ...]:
    """Nearest lines before (direction -1) or after (1) a line in its dialogue, in temporal order."""
    span = range(index + direction, index + direction * (CONTEXT_UTTERANCES + 1), direction)
    neighbours = [other for other in span if 0 <= other < len(lines) and dialogues[other] == dialogues[index]]
    return tuple(line for other in sorted(neighbours) if (line := lines[other]) is not None)


def _read_text(folder: Path, row: Any) -> TextInput:
    return TextInput(_string(row.text), _string(row.speaker))


def _read_audio(folder: Path, row: Any) -> AudioInput:
    import soundfile

    samples, rate = soundfile.read(media_files.open_media(folder, row.wav), dtype="float32")
    return AudioInput(samples, rate, manifests.wav_start(row))


def _read_face(choose: TrackChooser, folder: Path, row: Any) -> VisionInput:
    tracks = face_tracks.read_tracks(folder, row.tracks) if _string(row.tracks) else []
    needs_sound = len(tracks) > 1 and row.audio_status != manifests.MISSING
    index = choose(tracks, _read_audio(folder, row) if needs_sound else None) if tracks else None
    frame = media_files.open_media(folder, _string(row.frame))
    return face_input(None if index is None else tracks[index], frame)


def face_input(track: Track | None, frame: Path | BinaryIO) -> VisionInput:
    """Vision input from all frames of a face track; from the image file `frame` where there is no face."""
    if track is None:
        return whole_frame(frame)
    return VisionInput(track.crops, track.boxes, track.frames / face_tracks.TRACK_FPS)


def whole_frame(file: Path | BinaryIO) -> VisionInput:
    """Vision input from an image file: the whole picture in place of a face."""
    from PIL import Image

    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    return VisionInput(pixels[None], np.array([[0, 0, width, height]], np.float32), np.zeros(1, np.float32))


def _string(value: Any) -> str:
    """A manifest's string; null (None or NaN) as the empty string."""
    return value if isinstance(value, str) else ""

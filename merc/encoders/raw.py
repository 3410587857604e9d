"""What encoders are given: one utterance's words, sound or face, read from extract's folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from merc import manifest as manifests
from merc import tracks as face_tracks
from merc.problem import Problem
from merc.results import read_json
from merc.tracks import Track

RATE = 16_000  # samples a second of every extracted wav


@dataclass(frozen=True)
class Line:
    """What is said, by whom, and what was said around it."""

    text: str
    speaker: str
    before: tuple["Line", ...] = ()  # earlier utterances of the dialogue, the nearest last
    after: tuple["Line", ...] = ()  # later ones, the nearest first


@dataclass(frozen=True)
class Sound:
    """A voice."""

    samples: np.ndarray  # (samples,) float32, mono, -1 to 1
    rate: int = RATE
    start: float = 0.0  # seconds of the clip, on the clock of its faces, at which they begin


@dataclass(frozen=True)
class Faces:
    """One face through the utterance, or the whole picture where there is no face."""

    crops: np.ndarray  # (F, height, width, 3) uint8
    boxes: np.ndarray  # (F, 4): left, top, width, height in source pixels
    times: np.ndarray  # (F,) seconds


Choose = Callable[[list[Track], Sound | None], int | None]
REACH = 16  # utterances of a dialogue that a line knows on either side


def largest(tracks: list[Track], sound: Sound | None = None) -> int | None:
    """The track with the largest face, seen longest; None if there is none."""
    areas = [float((track.boxes[:, 2] * track.boxes[:, 3]).sum()) for track in tracks]
    return int(np.argmax(areas)) if areas else None


def read(modality: str, folder: Path, row: Any, choose: Choose = largest) -> Line | Sound | Faces | None:
    """An utterance's text, sound or face; None where it is missing. `row` is a row of the folder's manifest."""
    if getattr(row, f"{modality}_status") == manifests.MISSING:
        return None
    return READERS[modality](folder, row, choose)


def lines(folder: Path, rows: pd.DataFrame) -> list[Line | None]:
    """One line, or None, per row of whole dialogues; each knows its neighbours."""
    return in_dialogue([read("text", folder, row) for row in rows.itertuples()], rows["dialogue"].tolist())


def sounds(folder: Path, rows: pd.DataFrame) -> list[Sound | None]:
    """One sound, or None, per row."""
    return [read("audio", folder, row) for row in rows.itertuples()]


def faces(folder: Path, rows: pd.DataFrame, choose: Choose = largest) -> list[Faces | None]:
    """One face or picture, or None, per row."""
    return [read("vision", folder, row, choose) for row in rows.itertuples()]


def frames(folder: Path, rows: pd.DataFrame) -> list[Faces | None]:
    """The pictures at extract.video.fps, or None, per row; of a clip too short for any, the one frame."""
    rate = _rate(folder)
    return [
        None if row.vision_status == manifests.MISSING else _series(folder, row, rate) for row in rows.itertuples()
    ]


def _rate(folder: Path) -> float:
    """Pictures a second, as extract left them."""
    file = folder / manifests.FRAMES_RATE
    if not file.is_file():
        raise Problem(
            f"{folder}: encode.vision.picture is frames and extract.video.fps is 0; "
            f"set extract.video.fps to the pictures a second that you want"
        )
    return read_json(file)["fps"]


def _series(folder: Path, row: Any, rate: float) -> Faces:
    """frames/<utterance>/<number>.jpg is at number / rate seconds."""
    files = sorted((folder / row.frame).with_name(row.utterance).glob("*.jpg"))
    if not files:
        return whole_frame(folder / row.frame)
    return film([whole_frame(file) for file in files], rate)


def film(pictures: list[Faces], rate: float) -> Faces:
    """Whole pictures, so many a second, as one."""
    times = np.arange(len(pictures), dtype=np.float32) / rate
    crops, boxes = (np.concatenate([getattr(one, name) for one in pictures]) for name in ("crops", "boxes"))
    return Faces(crops, boxes, times)


def in_dialogue(lines: list[Line | None], dialogues: list[str]) -> list[Line | None]:
    """The lines with their neighbours; `dialogues` names each line's dialogue."""
    return [
        line and replace(line, before=_near(lines, dialogues, index, -1), after=_near(lines, dialogues, index, 1))
        for index, line in enumerate(lines)
    ]


def _near(lines: list[Line | None], dialogues: list[str], index: int, way: int) -> tuple[Line, ...]:
    span = range(index + way, index + way * (REACH + 1), way)
    inside = [other for other in span if 0 <= other < len(lines) and dialogues[other] == dialogues[index]]
    return tuple(lines[other] for other in sorted(inside) if lines[other] is not None)


def _line(folder: Path, row: Any, choose: Choose) -> Line:
    return Line(_string(row.text), _string(row.speaker))


def _sound(folder: Path, row: Any, choose: Choose) -> Sound:
    import soundfile

    samples, rate = soundfile.read(folder / row.wav, dtype="float32")
    return Sound(samples, rate, manifests.wav_start(row))


def _faces(folder: Path, row: Any, choose: Choose) -> Faces:
    tracks = face_tracks.read(folder / row.tracks) if _string(row.tracks) else []
    heard = len(tracks) > 1 and row.audio_status != manifests.MISSING
    chosen = choose(tracks, _sound(folder, row, choose) if heard else None) if tracks else None
    return whole_frame(folder / row.frame) if chosen is None else face(tracks[chosen])


def face(track: Track) -> Faces:
    """The face of a track, all of its frames."""
    return Faces(track.crops, track.boxes, track.frames / face_tracks.RATE)


def whole_frame(file: Path | BinaryIO) -> Faces:
    """The whole picture of a file, where there is no face."""
    from PIL import Image

    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    return Faces(pixels[None], np.array([[0, 0, width, height]], np.float32), np.zeros(1, np.float32))


def _string(value: Any) -> str:
    """A manifest's null comes as None or NaN."""
    return value if isinstance(value, str) else ""


READERS = {"text": _line, "audio": _sound, "vision": _faces}

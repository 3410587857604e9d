"""What `extract` of params.yaml may say."""

from typing import Any

from merc import faces, portraits, speech, timing, tracks
from merc.params import Strict
from merc.problem import Problem


class AudioSettings(Strict):
    """Section `extract.audio`."""

    min_seconds: float
    max_seconds: float
    vad: str
    trim: bool


class VideoSettings(Strict):
    """Section `extract.video`."""

    frame: str
    fps: float
    side: int


class FaceSettings(Strict):
    """Section `extract.faces`."""

    detector: str
    size: int


class Settings(Strict):
    """Section `extract` of params.yaml."""

    audio: AudioSettings
    video: VideoSettings
    faces: FaceSettings
    align: str


def check(settings: Settings) -> None:
    """Refuse values that no type can refuse."""
    _choose("faces.detector", settings.faces.detector, faces.DETECTORS)
    _choose("video.frame", settings.video.frame, portraits.PORTRAITS)
    _choose("audio.vad", settings.audio.vad, speech.DETECTORS)
    speech.check(settings.audio.vad)
    timing.check(settings.align)
    if not 0 < settings.audio.min_seconds <= settings.audio.max_seconds:
        raise Problem("params.yaml: extract.audio: 0 < min_seconds <= max_seconds is needed")
    if not 0 <= settings.video.fps <= tracks.RATE:
        raise Problem(f"params.yaml: extract.video.fps = {settings.video.fps}: 0 to {tracks.RATE:g}")
    if settings.video.side < 8:
        raise Problem(f"params.yaml: extract.video.side = {settings.video.side}: at least 8 pixels")
    if settings.faces.size < 8:
        raise Problem(f"params.yaml: extract.faces.size = {settings.faces.size}: at least 8 pixels")


def _choose(key: str, value: str, table: dict[str, Any]) -> None:
    if value not in table:
        raise Problem(f"params.yaml: extract.{key} = {value!r}: choose one of {', '.join(table)}")

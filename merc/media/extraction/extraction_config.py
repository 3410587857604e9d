"""Section `extract` of params.yaml: settings and their validation."""

from typing import Any

from pydantic import Field

from merc.data.records import face_tracks
from merc.media import images, voice_activity
from merc.media.alignment import word_times
from merc.media.faces import detectors
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel


class AudioConfig(StrictModel):
    """Section `extract.audio`."""

    min_seconds: float
    max_seconds: float
    vad: str
    trim: bool


class VideoConfig(StrictModel):
    """Section `extract.video`."""

    frame: str
    fps: float = Field(ge=0, le=face_tracks.TRACK_FPS)
    side: int = Field(ge=8)  # pixels


class FaceConfig(StrictModel):
    """Section `extract.faces`."""

    detector: str
    size: int = Field(ge=8)  # pixels


class ExtractionConfig(StrictModel):
    """Section `extract` of params.yaml."""

    audio: AudioConfig
    video: VideoConfig
    faces: FaceConfig
    align: str


def check_values(settings: ExtractionConfig) -> None:
    """Refuse invalid values that the field types do not exclude."""
    _choose("faces.detector", settings.faces.detector, detectors.DETECTORS)
    _choose("video.frame", settings.video.frame, images.PORTRAITS)
    _choose("audio.vad", settings.audio.vad, voice_activity.DETECTORS)
    voice_activity.check_installed(settings.audio.vad)
    word_times.check_model(settings.align)
    if not 0 < settings.audio.min_seconds <= settings.audio.max_seconds:
        raise UserError("params.yaml: extract.audio: 0 < min_seconds <= max_seconds is needed")


def _choose(key: str, value: str, table: dict[str, Any]) -> None:
    if value not in table:
        raise UserError(f"params.yaml: extract.{key} = {value!r}: choose one of {', '.join(table)}")

"""Section `extract` of params.yaml: settings and their validation."""

from pydantic import Field

from merc.data.records import face_tracks
from merc.media import images, voice_activity
from merc.media.faces import detectors
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel


class AudioConfig(StrictModel):
    """Section `extract.audio`."""

    min_seconds: float = Field(gt=0, le=60)
    max_seconds: float = Field(ge=0.1, le=3600)
    vad: str
    trim: bool


class VideoConfig(StrictModel):
    """Section `extract.video`."""

    frame: str
    fps: float = Field(ge=0, le=face_tracks.TRACK_FPS)
    side: int = Field(ge=8, le=4096)  # pixels


class FaceConfig(StrictModel):
    """Section `extract.faces`."""

    detector: str
    size: int = Field(ge=8, le=1024)  # pixels


class ExtractionConfig(StrictModel):
    """Section `extract` of params.yaml."""

    audio: AudioConfig
    video: VideoConfig
    faces: FaceConfig
    align: str


def check_values(settings: ExtractionConfig, place: str = "params.yaml: extract.") -> None:
    """Refuse invalid values that the field types do not exclude; `place` begins the message."""
    audio = settings.audio
    for key, value, table in (
        ("faces.detector", settings.faces.detector, detectors.DETECTORS),
        ("video.frame", settings.video.frame, images.PORTRAITS),
        ("audio.vad", audio.vad, voice_activity.DETECTORS),
    ):
        if value not in table:
            raise UserError(f"{place}{key} = {value[:40]!r}: choose one of {', '.join(table)}")
    voice_activity.check_installed(audio.vad)
    detectors.check_installed(settings.faces.detector)
    if audio.min_seconds > audio.max_seconds:
        raise UserError(
            f"{place}audio.min_seconds = {audio.min_seconds:g}: min_seconds <= max_seconds is needed, "
            f"which is {audio.max_seconds:g}"
        )

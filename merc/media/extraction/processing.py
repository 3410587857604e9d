"""Turns a clip's decoded sound and pictures into what encoders read: the one path of `extract` and `predict`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from merc.data.records import face_tracks
from merc.data.records.face_tracks import Track
from merc.media import images, voice_activity
from merc.media.extraction.extraction_config import ExtractionConfig, VideoConfig
from merc.media.faces import detectors, tracking
from merc.media.faces.detectors import Detector
from merc.media.images import Pictures
from merc.media.sound import ClipSound
from merc.media.spare_threads import ALONE, SpareThreads

JPEG_QUALITY = 92  # JPEG quality, 0 to 100


@dataclass(frozen=True)
class ProcessedPictures:
    """A clip's pictures, compressed as `extract` writes them; all empty where there are none."""

    frame: bytes = b""  # JPEG of the representative picture
    frame_series: list[bytes] = field(default_factory=list)  # JPEGs at extract.video.fps
    tracks: list[Track] | None = None  # of the faces; None without a face detector
    packed_tracks: bytes = b""  # the tracks with their crops as JPEGs; empty without a face detector
    no_face: str = ""  # if no face was found, down to which size was looked


def decodes_all_pictures(settings: ExtractionConfig) -> bool:
    """Whether every picture is needed, for the faces or for the series, and not the middle one alone."""
    return detectors.DETECTORS[settings.faces.detector] is not None or settings.video.fps > 0


def process_sound(sound: ClipSound, settings: ExtractionConfig) -> ClipSound:
    """Apply the voice-activity detector of the settings; a missing sound stays missing, a silent one is missing."""
    audio, sound = settings.audio, voice_activity.without_silence(sound)
    return voice_activity.apply_detector(sound, voice_activity.DETECTORS[audio.vad], audio.trim, audio.min_seconds)


def process_pictures(
    pictures: Pictures, settings: ExtractionConfig, tracks: list[Track] | None = None
) -> ProcessedPictures:
    """Find the faces, unless their `tracks` are known, choose the representative picture and compress all."""
    if pictures.middle is None:
        return ProcessedPictures()
    if tracks is None:
        tracks = track_faces(pictures, settings)
    portrait = images.PORTRAITS[settings.video.frame](pictures, tracks or [])
    return ProcessedPictures(
        face_tracks.encode_jpeg(portrait, JPEG_QUALITY),
        list(_encode_series(pictures, settings.video)),
        tracks,
        b"" if tracks is None else face_tracks.tracks_to_bytes(tracks),
        "" if tracks or tracks is None else _no_face(pictures.middle, settings),
    )


def track_faces(pictures: Pictures, settings: ExtractionConfig, spare: SpareThreads = ALONE) -> list[Track] | None:
    """The tracks of the faces; None without a face detector."""
    detector = detectors.DETECTORS[settings.faces.detector]
    if detector is None:
        return None
    return [] if pictures.middle is None else tracking.track_faces(pictures, detector, settings.faces.size, spare)


def _no_face(picture: np.ndarray, settings: ExtractionConfig) -> str:
    height, width = picture.shape[:2]
    smallest = cast("Detector", detectors.DETECTORS[settings.faces.detector]).smallest(height, width)
    return f"no face of {smallest:.0f} pixels (1/{height / smallest:.0f} of the height) or larger was found"


def _encode_series(pictures: Pictures, video: VideoConfig) -> Iterator[bytes]:
    """The JPEGs at extract.video.fps: the n-th is at n / fps seconds."""
    for number in range(math.floor(len(pictures.ticks) / face_tracks.TRACK_FPS * video.fps)):
        index = max(round(number / video.fps * face_tracks.TRACK_FPS) - pictures.first, 0)
        yield face_tracks.encode_jpeg(images.reduce_to_side(pictures.ticks[index], video.side), JPEG_QUALITY)

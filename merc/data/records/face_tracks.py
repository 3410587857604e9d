"""Face tracks: the faces of a clip over time, each with its box and aligned crop at 25 frames per second."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load, save

from merc.data.records import media_files
from merc.runtime.errors import UserError, error_context

TRACK_FPS = 25.0  # frames per second at any frame rate of the clip: the input rate of lip-sync networks
JPEG_QUALITY = 85
CROPS_PER_STRIP = 64  # crops stacked vertically in one JPEG, since its tables are as large as a coded crop


@dataclass(frozen=True)
class Track:
    """One face over consecutive frames of a clip."""

    frames: np.ndarray  # (F,) int32, contiguous: frame n is at n / TRACK_FPS seconds
    boxes: np.ndarray  # (F, 4) float32: left, top, width, height in source pixels
    crops: np.ndarray  # (F, size, size, 3) uint8, RGB


def tracks_to_bytes(tracks: list[Track]) -> bytes:
    """Content of a tracks file in safetensors: the boxes, and the crops as concatenated JPEG strips."""
    coded = [encode_jpeg(np.concatenate(strip)) for track in tracks for strip in _strips(track.crops)]
    arrays = {
        "starts": np.array([track.frames[0] for track in tracks], np.int32),
        "lengths": np.array([len(track.frames) for track in tracks], np.int32),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(track.boxes for track in tracks)]),
        "jpeg": np.frombuffer(b"".join(coded), np.uint8),
        "offsets": np.cumsum([0, *map(len, coded)]).astype(np.int64),
    }
    # a single metadata key, as safetensors writes several in random order
    return save(
        arrays, metadata={"merc": json.dumps({"rate": TRACK_FPS, "strip": CROPS_PER_STRIP}, sort_keys=True)}
    )


def read_tracks(folder: Path, name: str) -> list[Track]:
    """Read the tracks of a clip that a manifest's row in this folder names; empty if no face was detected."""
    content = media_files.read_media(folder, name)
    with error_context(str(folder / name)):
        return tracks_from_bytes(content)


def tracks_from_bytes(content: bytes) -> list[Track]:
    """Deserialise the content of a tracks file."""
    arrays = load(content)
    return [_unpack(arrays, index) for index in range(len(arrays["lengths"]))]


def track_from_bytes(content: bytes, index: int) -> Track:
    """Deserialise a single track without decoding the crops of the others."""
    return _unpack(load(content), index)


def _unpack(arrays: dict[str, np.ndarray], index: int) -> Track:
    start, length = int(arrays["starts"][index]), int(arrays["lengths"][index])
    earlier_lengths = arrays["lengths"][:index]
    first_strip = int((-(-earlier_lengths // CROPS_PER_STRIP)).sum())
    edges = arrays["offsets"][first_strip : first_strip - (-length // CROPS_PER_STRIP) + 1].tolist()
    coded = [arrays["jpeg"][begin:end] for begin, end in itertools.pairwise(edges)]
    boxes = arrays["boxes"][int(earlier_lengths.sum()) :][:length]
    return Track(np.arange(start, start + length, dtype=np.int32), boxes, _crops(coded))


def _strips(crops: np.ndarray) -> list[np.ndarray]:
    return [crops[first : first + CROPS_PER_STRIP] for first in range(0, len(crops), CROPS_PER_STRIP)]


def _crops(coded: list[np.ndarray]) -> np.ndarray:
    strips = np.concatenate([decode_jpeg(strip) for strip in coded])
    size = strips.shape[1]
    return strips.reshape(-1, size, size, 3)


def encode_jpeg(picture: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Encode an RGB image as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def decode_jpeg(coded: np.ndarray) -> np.ndarray:
    """Decode a JPEG to an RGB image."""
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB) if len(coded) else None  # None where it cannot be decoded
    if picture is None:
        raise UserError(f"{len(coded)} bytes cannot be decoded as a JPEG picture; extract the clip again")
    return picture


def intersection_over_union(box: Iterable[float], other: Iterable[float]) -> float:
    """Intersection over union of two boxes (left, top, width, height), 0 to 1."""
    left, top, width, height = map(float, box)  # plain floats: numpy takes ten times as long for so few numbers
    other_left, other_top, other_width, other_height = map(float, other)
    common_width = _intersection(left, width, other_left, other_width)
    common_height = _intersection(top, height, other_top, other_height)
    intersection = common_width * common_height
    return intersection / (width * height + other_width * other_height - intersection)


def _intersection(start: float, length: float, other_start: float, other_length: float) -> float:
    """Length of the intersection of two intervals."""
    return max(min(start + length, other_start + other_length) - max(start, other_start), 0.0)

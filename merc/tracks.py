"""Face tracks: every face through a clip, with its box and its aligned crop 25 times a second."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load, save

RATE = 25.0  # frames a second, whatever the clip's own rate: what lip-sync networks are used to
JPEG_QUALITY = 85
STRIP = 64  # crops one above another in one JPEG, whose tables are as long as a crop


@dataclass(frozen=True)
class Track:
    """One face through the clip."""

    frames: np.ndarray  # (F,) int32, contiguous: frame n is at n / RATE seconds
    boxes: np.ndarray  # (F, 4) float32: left, top, width, height in source pixels
    crops: np.ndarray  # (F, size, size, 3) uint8, RGB


def write(path: Path, tracks: list[Track]) -> None:
    """One safetensors file: the boxes, and the crops as JPEG strips end to end."""
    path.write_bytes(pack(tracks))


def pack(tracks: list[Track]) -> bytes:
    """The content of a tracks file."""
    coded = [encode(np.concatenate(strip)) for track in tracks for strip in _strips(track.crops)]
    arrays = {
        "starts": np.array([track.frames[0] for track in tracks], np.int32),
        "lengths": np.array([len(track.frames) for track in tracks], np.int32),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(track.boxes for track in tracks)]),
        "jpeg": np.frombuffer(b"".join(coded), np.uint8),
        "offsets": np.cumsum([0, *map(len, coded)]).astype(np.int64),
    }
    # one metadata key: safetensors writes several in random order
    return save(arrays, metadata={"merc": json.dumps({"rate": RATE, "strip": STRIP}, sort_keys=True)})


def read(path: Path) -> list[Track]:
    """The tracks of a clip, longest first; none if no face was found."""
    return unpack(path.read_bytes())


def unpack(content: bytes) -> list[Track]:
    """The tracks in a tracks file's content."""
    arrays = load(content)
    jpegs = iter(np.split(arrays["jpeg"], arrays["offsets"][1:-1]))
    boxes = np.split(arrays["boxes"], np.cumsum(arrays["lengths"]))
    return [
        Track(np.arange(start, start + length, dtype=np.int32), box, _crops(jpegs, int(length)))
        for start, length, box in zip(arrays["starts"], arrays["lengths"], boxes, strict=False)
    ]


def _strips(crops: np.ndarray) -> list[np.ndarray]:
    return [crops[first : first + STRIP] for first in range(0, len(crops), STRIP)]


def _crops(jpegs: Iterator[np.ndarray], length: int) -> np.ndarray:
    strips = [decode(next(jpegs)) for _ in range(0, length, STRIP)]
    size = strips[0].shape[1]
    return np.concatenate(strips).reshape(length, size, size, 3)


def encode(picture: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """JPEG bytes of an RGB picture."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def decode(coded: np.ndarray) -> np.ndarray:
    """The RGB picture in JPEG bytes."""
    return cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

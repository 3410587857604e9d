"""Where the faces are: detectors of one signature, pictures in, the faces of each out."""

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

HAAR_FILE = "haarcascade_frontalface_alt2.xml"
HAAR_SIDE = 320  # pixels; larger pictures are shrunk to this before the search
HAAR_STEP = 1.2  # between two sizes that are searched
HAAR_NEIGHBOURS = 3  # detections that must agree
SMALLEST = 1 / 8  # of a picture's shorter side
MTCNN_CERTAINTY = 0.9


@dataclass(frozen=True)
class Face:
    """A face in a picture, pixels."""

    box: np.ndarray  # (4,) float: left, top, width, height
    eyes: np.ndarray | None = None  # (2, 2) float: the one on the picture's left, then the other; x, y


Detector = Callable[[Sequence[np.ndarray]], list[list[Face]]]


_own = threading.local()


def find_haar(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """Viola and Jones, 2001: Rapid Object Detection using a Boosted Cascade of Simple Features."""
    return [_find_haar_in(picture) for picture in pictures]


def find_mtcnn(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """Zhang et al., 2016: Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks."""
    return [_find_mtcnn_in(picture) for picture in pictures]


DETECTORS: dict[str, Detector | None] = {
    "none": None,
    "haar": find_haar,
    "mtcnn": find_mtcnn,
}


def _find_haar_in(picture: np.ndarray) -> list[Face]:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    shrink = max(1.0, max(grey.shape) / HAAR_SIDE)
    if shrink > 1.0:
        grey = cv2.resize(grey, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    least = max(round(min(grey.shape) * SMALLEST), 1)
    boxes = _cascade().detectMultiScale(grey, HAAR_STEP, HAAR_NEIGHBOURS, minSize=(least, least))
    # the cascade's order is no order; left to right is
    return [Face(np.array(box) * shrink) for box in sorted(map(tuple, np.reshape(boxes, (-1, 4)).tolist()))]


def _cascade() -> cv2.CascadeClassifier:
    """A detector for each thread: one alone, asked by two at once, crashes."""
    if not hasattr(_own, "cascade"):
        cv2.setNumThreads(1)  # parallelism is over clips
        _own.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + HAAR_FILE)
    return _own.cascade


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

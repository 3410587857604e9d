"""Faces by OpenCV's cascade, in the pictures of a shot: everywhere in some, around known faces in the others.

Viola and Jones, 2001: Rapid Object Detection using a Boosted Cascade of Simple Features.
"""

import threading
from collections.abc import Sequence

import cv2
import numpy as np

from merc.boxes import overlap

FILE = "haarcascade_frontalface_alt2.xml"
SIDE = 320  # pixels; larger pictures are shrunk to this before the search
STEP = 1.2  # between two sizes that are searched
NEIGHBOURS = 3  # detections that must agree
SMALLEST = 1 / 8  # of a picture's shorter side
EVERY = 5  # pictures, half a second apart, of which one is searched everywhere: as long as ten searches near by
# A known face is looked for in a square of so many pixels, in which it is so wide: at the first sizes its place
# comes out as steady as from a search everywhere (26 in 58 is quicker, and a third less steady).
SQUARES = ((84, 38), (58, 26))
SMALLER, LARGER = 0.75, 1.3  # than it was
GROWN = 1.25  # by less a face's size is taken not to have changed between two pictures
LOST = 3  # pictures without a face before it is no longer looked for
SAME = 0.25  # overlap of two boxes that are one face

_own = threading.local()


def find(pictures: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The boxes in each picture of a shot, left to right; pictures in order, about half a second apart."""
    shrink = max(1.0, max(pictures[0].shape[:2]) / SIDE) if pictures else 1.0
    search = _Search([_grey(picture, shrink) for picture in pictures])
    return [[box * shrink for box in sorted(boxes, key=tuple)] for boxes in search.found]


def _spread(count: int) -> list[int]:
    """Pictures that are searched everywhere: the middles of equal parts."""
    parts = -(-count // EVERY)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def _grey(picture: np.ndarray, shrink: float) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if shrink == 1.0:
        return grey
    return cv2.resize(grey, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)


class _Search:
    """What is found in the pictures so far.

    What is in the pictures that are searched everywhere is looked for near by in the others, to and fro. Where it
    is not found, and where nothing is, the picture is searched everywhere, too.
    """

    def __init__(self, greys: list[np.ndarray]) -> None:
        self.greys = greys
        self.found: list[list[np.ndarray]] = [[] for _ in greys]
        self.done: set[int] = set()  # searched everywhere
        for index in _spread(len(greys)):
            self.everywhere(index)
        self.follow(range(len(greys)))
        self.follow(range(len(greys))[::-1])
        for index in range(len(greys)):
            if not self.found[index]:
                self.everywhere(index)

    def follow(self, order: range) -> None:
        """What was found in one of the LOST pictures before and is not found in this one is looked for."""
        known: list[tuple[np.ndarray, int]] = []
        for index in order:
            for box, _ in known:
                if _unknown(box, self.found[index]):
                    self.near(index, box)
            lost = [(box, age + 1) for box, age in known if age + 1 < LOST and _unknown(box, self.found[index])]
            known = [*((box, 0) for box in self.found[index]), *lost]

    def near(self, index: int, known: np.ndarray) -> None:
        """The known face in this picture."""
        box = _near(self.greys[index], known)
        if box is None:
            self.everywhere(index)
        elif _unknown(box, self.found[index]):
            self.found[index].append(box)

    def everywhere(self, index: int) -> None:
        """All faces of this picture, once."""
        if index not in self.done:
            self.done.add(index)
            boxes = _everywhere(self.greys[index])
            self.found[index] += [box for box in boxes if _unknown(box, self.found[index])]


def _unknown(box: np.ndarray, others: list[np.ndarray]) -> bool:
    return all(overlap(box, other) < SAME for other in others)


def _everywhere(grey: np.ndarray) -> list[np.ndarray]:
    least = max(round(min(grey.shape) * SMALLEST), 1)
    boxes = _cascade().detectMultiScale(grey, STEP, NEIGHBOURS, minSize=(least, least))
    return [np.array(box, float) for box in boxes]


def _near(grey: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """The known face in another picture, if it is still there."""
    for side, wide in SQUARES:
        half = max(round(known[2] * side / wide / 2), 1)
        corner = np.round(known[:2] + known[2:] / 2).astype(int) - half
        square = cv2.resize(_square(grey, corner, 2 * half), (side, side), interpolation=cv2.INTER_AREA)
        sizes = {"minSize": (round(wide * SMALLER),) * 2, "maxSize": (round(wide * LARGER),) * 2}
        boxes = _cascade().detectMultiScale(square, STEP, NEIGHBOURS, **sizes)
        back = [np.array(box) * (2 * half / side) + [*corner, 0, 0] for box in boxes]
        if back:
            return _steady(max(back, key=lambda box: overlap(box, known)), known)
    return None


def _steady(box: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The box at its old size, if that hardly changed: near by, places are told well and sizes less so."""
    if not 1 / GROWN < box[2] / known[2] < GROWN:
        return box
    return np.array([*(box[:2] + (box[2:] - known[2:]) / 2), *known[2:]])


def _square(grey: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """A part of the picture; beyond its edges they are repeated."""
    (left, top), (height, width) = corner.tolist(), grey.shape
    inside = grey[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    outside = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    return cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE) if any(outside) else inside


def _cascade() -> cv2.CascadeClassifier:
    """A detector for each thread: one alone, asked by two at once, crashes."""
    if not hasattr(_own, "cascade"):
        cv2.setNumThreads(1)  # parallelism is over clips
        _own.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + FILE)
    return _own.cascade

"""Face detection by OpenCV's Haar cascade.

Viola and Jones, 2001: Rapid Object Detection using a Boosted Cascade of Simple Features.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import cv2
import cv2.data
import numpy as np

from merc.data.records.face_tracks import intersection_over_union
from merc.media.faces import shot_search
from merc.media.spare_threads import ALONE, SpareThreads

CASCADE_FILE = "haarcascade_frontalface_alt2.xml"
MAX_SIDE = 320  # pixels; larger pictures are reduced to this before the search
SCALE_FACTOR = 1.2  # ratio of successive search sizes
MIN_NEIGHBOURS = 3  # overlapping detections needed for a face
GROUPING_TOLERANCE = 0.2  # of sizes and positions of overlapping detections, as in detectMultiScale
MIN_FACE_FRACTION = 1 / 8  # smallest face, as a fraction of the picture's shorter side
# Local search: (side of the search square, width of the face in it), pixels. The first pair gives positions as
# stable as a full search's; the second is faster, a third less stable, and used if the first finds nothing.
SEARCH_SQUARES = ((84, 38), (58, 26))
MIN_SIZE_RATIO, MAX_SIZE_RATIO = 0.75, 1.3  # range of face sizes in a local search, relative to the known face

_thread_local = threading.local()


def find_faces(pictures: Sequence[np.ndarray], spare: SpareThreads = ALONE) -> list[list[np.ndarray]]:
    """The boxes in each picture of a shot, left to right; pictures in order, about half a second apart."""
    factor = max(1.0, max(pictures[0].shape[:2]) / MAX_SIDE) if pictures else 1.0
    greys = [_grey(picture, factor) for picture in pictures]
    found = shot_search.search_shot(greys, partial(_search_fully, spare=spare), _search_near, spare)
    return [[box * factor for box in boxes] for boxes in found]


def smallest_face(height: int, width: int) -> float:
    """The height in pixels of the smallest faces that are looked for in a picture of this size."""
    return min(height, width) * MIN_FACE_FRACTION


def _grey(picture: np.ndarray, factor: float) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if factor == 1.0:
        return grey
    return cv2.resize(grey, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def _search_fully(grey: np.ndarray, spare: SpareThreads) -> list[np.ndarray]:
    min_size = max(round(min(grey.shape) * MIN_FACE_FRACTION), 1)
    if spare.any_idle():
        boxes = _search_sizes_apart(grey, min_size, spare)
    else:
        boxes = _cascade().detectMultiScale(grey, SCALE_FACTOR, MIN_NEIGHBOURS, minSize=(min_size, min_size))
    return [np.array(box, float) for box in boxes]


def _search_sizes_apart(grey: np.ndarray, min_size: int, spare: SpareThreads) -> Iterable[Any]:
    """What one call finds, by a call for each size of faces; takes 6 % more of the processor."""

    def detect(sizes: tuple[int, int]) -> Iterable[Any]:
        smallest, largest = sizes
        return _cascade().detectMultiScale(
            grey, SCALE_FACTOR, 0, minSize=(smallest, smallest), maxSize=(largest, largest)
        )

    found = spare.share(detect, list(_size_ranges(min_size, min(grey.shape))))
    return cv2.groupRectangles([box for boxes in found for box in boxes], MIN_NEIGHBOURS, GROUPING_TOLERANCE)[0]


def _size_ranges(smallest: int, largest: int) -> Iterator[tuple[int, int]]:
    """First and last size of ranges that have every size between them once, each with one search size or none."""
    while smallest <= largest:
        last = int(smallest * SCALE_FACTOR)
        yield smallest, last
        smallest = last + 1


def _search_near(grey: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """The box of a face near its box in another picture, or None."""
    for side, width in SEARCH_SQUARES:
        half = max(round(known[2] * side / width / 2), 1)
        corner = np.round(known[:2] + known[2:] / 2).astype(int) - half
        square = cv2.resize(
            shot_search.cut_square(grey, corner, 2 * half), (side, side), interpolation=cv2.INTER_AREA
        )
        smallest, largest = round(width * MIN_SIZE_RATIO), round(width * MAX_SIZE_RATIO)
        detections = _cascade().detectMultiScale(
            square, SCALE_FACTOR, MIN_NEIGHBOURS, minSize=(smallest, smallest), maxSize=(largest, largest)
        )
        boxes = [np.array(box) * (2 * half / side) + [*corner, 0, 0] for box in detections]
        if boxes:
            return max(boxes, key=lambda box: intersection_over_union(box, known))
    return None


def _cascade() -> cv2.CascadeClassifier:
    """The detector of the current thread: a detector shared by threads crashes."""
    if not hasattr(_thread_local, "cascade"):
        cv2.setNumThreads(1)  # clips are processed in parallel
        _thread_local.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + CASCADE_FILE)
    return _thread_local.cascade

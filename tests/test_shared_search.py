"""A search for faces that is shared among threads finds what one thread finds, to the last bit."""

import cv2
import numpy as np
import pytest

from merc.corpora.synthesis.picture import scene
from merc.corpora.synthesis.plan.cast import PEOPLE
from merc.data.records import face_tracks
from merc.media.faces import detectors, haar, shot_search, tracking
from merc.media.images import Pictures
from merc.media.spare_threads import ALONE
from merc.serve.predictor.threads import Helpers


class Backwards:
    """Divides all that can be divided, and does the last part first."""

    def any_idle(self):
        return True

    def share(self, function, items):
        return [function(item) for item in items[::-1]][::-1]


SHARING = [Backwards(), Helpers(1), Helpers(3)]


def _same(found, expected) -> bool:
    return len(found) == len(expected) and all(
        len(boxes) == len(others) and all(map(np.array_equal, boxes, others))
        for boxes, others in zip(found, expected, strict=True)
    )


def _pictures(seed: int, people: int) -> list[np.ndarray]:
    """A drawn conversation at 25 pictures a second."""
    drawn = scene.compose_scene(next(iter(PEOPLE)), "joy", [np.zeros(70)] * people, np.random.default_rng(seed))
    return list(drawn.pictures())


@pytest.mark.parametrize("spare", SHARING)
def test_the_sizes_of_faces_searched_apart_are_those_of_one_search(spare):
    rng, num_faces = np.random.default_rng(0), 0
    drawn = [cv2.cvtColor(_pictures(seed, 1 + seed % 3)[0], cv2.COLOR_RGB2GRAY) for seed in range(6)]
    noise = [rng.integers(0, 255, rng.integers(5, 330, 2), np.uint8) for _ in range(12)]
    for grey in [*drawn, *(cv2.resize(one, (400, 90)) for one in drawn[:2]), *noise]:
        whole = haar._search_fully(grey, ALONE)
        assert _same([haar._search_fully(grey, spare)], [whole])
        num_faces += len(whole)
    assert num_faces > 8


@pytest.mark.parametrize(("smallest", "largest"), [(1, 1), (1, 40), (22, 180), (60, 320), (9, 8)])
def test_every_size_is_in_one_range(smallest, largest):
    ranges = list(haar._size_ranges(smallest, largest))
    sizes = [size for first, last in ranges for size in range(first, last + 1)]
    assert sizes == list(range(smallest, max([largest, *sizes]) + 1)) and len(ranges) < 30


@pytest.mark.parametrize("spare", SHARING)
def test_faces_are_followed_both_ways_at_once_as_one_way_after_the_other(spare):
    for seed, people in ((0, 1), (1, 2), (2, 3)):
        keys = _pictures(seed, people)[::6]
        empty = np.full_like(keys[0], 128)
        shown = [empty, *keys[:3], empty, *keys[3:7], keys[0][:, ::-1], empty, *keys[7:]]
        assert _same(haar.find_faces(shown, spare), haar.find_faces(shown))
    assert haar.find_faces([], spare) == []


@pytest.mark.parametrize("spare", SHARING)
@pytest.mark.parametrize("thorough", [True, False])
def test_whatever_the_searches_find_they_are_put_together_as_by_one_thread(spare, thorough):
    for seed in range(60):
        number = 1 + seed % 17

        def boxes_of(*key: float, seed: int = seed) -> list[np.ndarray]:
            """Up to three boxes, the same for the same question."""
            rng = np.random.default_rng([seed, *(abs(int(1000 * one)) for one in key)])
            return [np.array([*rng.integers(0, 12, 2), 8.0, 8.0]) for _ in range(rng.integers(0, 4))]

        def near(index: int, known: np.ndarray) -> np.ndarray | None:
            return next(iter(boxes_of(index, *known)), None)

        one = shot_search.search_shot(range(number), boxes_of, near, thorough=thorough)
        shared = shot_search.search_shot(range(number), boxes_of, near, spare, thorough=thorough)
        assert _same(shared, one)


@pytest.mark.parametrize("spare", SHARING)
def test_tracks_have_the_same_bytes(spare):
    shots = [*_pictures(3, 2), *_pictures(4, 1)]
    pictures = Pictures(middle=shots[0], ticks=shots)
    alone, shared = (
        face_tracks.tracks_to_bytes(tracking.track_faces(pictures, detectors.DETECTORS["haar"], 64, threads))
        for threads in (ALONE, spare)
    )
    assert shared == alone and len(face_tracks.tracks_from_bytes(alone)) >= 3

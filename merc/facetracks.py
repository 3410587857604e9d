"""Follows every face through a clip: found on key pictures, linked within a shot, smoothed, cropped on all."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from merc.boxes import overlap
from merc.faces import Detector, Face
from merc.pictures import Pictures
from merc.tracks import Track

KEY_TICKS = 12  # faces are looked for about twice a second
LEAST_OVERLAP = 0.25  # of two boxes (intersection over union) that are one face
LOST_TICKS = 3 * KEY_TICKS  # a face unseen for longer is another
CUT = 28.0  # mean change of brightness (0-255) between neighbouring pictures that ends a shot
THUMBNAIL = (32, 18)
SMOOTH_TICKS = 7  # of position; applied twice
SIZE_TICKS = 25  # of size and angle; applied twice
MARGIN = 1.0  # side of a crop by the width of the box
BELOW = 0.05  # the crop's centre is so far below the box's, by its height: an open mouth needs room
EYES_APART = 0.42  # distance of the eyes by the side of an aligned crop
EYES_HEIGHT = 0.36  # of the crop's height, from above


@dataclass
class _Trail:
    """One face, seen on some of the key pictures of a shot."""

    ticks: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)


def follow(pictures: Pictures, detector: Detector, size: int) -> list[Track]:
    """All face tracks of a clip, the longest and then the largest first."""
    tracks = []
    for begin, end in _shots(pictures.ticks):
        keys = _keys(begin, end)
        found = detector([pictures.ticks[key] for key in keys])
        tracks += [_track(trail, begin, end, pictures, size) for trail in _link(keys, found)]
    return sorted(tracks, key=lambda track: (-len(track.frames), -float(track.boxes[:, 2].mean())))


def _shots(ticks: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Ranges of ticks between cuts."""
    greys = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in ticks)
    small = np.array([cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA) for grey in greys], np.int16)
    changes = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2)) if len(small) else []
    cuts = [index + 1 for index, change in enumerate(changes) if change > CUT]
    edges = [0, *cuts, len(ticks)]
    return [(begin, end) for begin, end in itertools.pairwise(edges) if end > begin]


def _keys(begin: int, end: int) -> list[int]:
    """Evenly spread key ticks, the first and the last of a shot among them."""
    count = max(round((end - 1 - begin) / KEY_TICKS), 1 if end - begin > 1 else 0) + 1
    return [round(tick) for tick in np.linspace(begin, end - 1, count)]


def _link(keys: list[int], found: list[list[Face]]) -> list[_Trail]:
    """Greedily, the best overlap first; a face seen once in a longer shot is no face."""
    trails: list[_Trail] = []
    for key, faces in zip(keys, found, strict=True):
        open_trails = [trail for trail in trails if key - trail.ticks[-1] <= LOST_TICKS]
        unmatched = dict(enumerate(faces))
        for trail, index in _matches(open_trails, faces):
            trail.ticks.append(key)
            trail.faces.append(unmatched.pop(index))
        trails += [_Trail([key], [face]) for face in unmatched.values()]
    return [trail for trail in trails if len(trail.ticks) > 1 or len(keys) < 3]


def _matches(trails: list[_Trail], faces: list[Face]) -> list[tuple[_Trail, int]]:
    pairs = [(overlap(t.faces[-1].box, f.box), i, j) for i, t in enumerate(trails) for j, f in enumerate(faces)]
    matches, taken = [], set()
    for shared, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        if shared >= LEAST_OVERLAP and not {("trail", i), ("face", j)} & taken:
            taken |= {("trail", i), ("face", j)}
            matches.append((trails[i], j))
    return matches


def _track(trail: _Trail, begin: int, end: int, pictures: Pictures, size: int) -> Track:
    first = max(trail.ticks[0] - KEY_TICKS // 2, begin)
    last = min(trail.ticks[-1] + KEY_TICKS // 2, end - 1)
    ticks = np.arange(first, last + 1)
    boxes = _smooth(_interpolate(trail, [face.box for face in trail.faces], ticks), centred=True)
    frames = _smooth(_interpolate(trail, [_frame(face) for face in trail.faces], ticks), centred=False)
    crops = [_crop(pictures.ticks[tick], frame, size) for tick, frame in zip(ticks, frames, strict=True)]
    return Track(
        frames=(ticks + pictures.first).astype(np.int32),
        boxes=(boxes * pictures.scale).astype(np.float32),
        crops=np.stack(crops),
    )


def _frame(face: Face) -> np.ndarray:
    """The square to cut out: centre x, y, side, angle; by the eyes where they are known."""
    left, top, width, height = face.box
    if face.eyes is None:
        return np.array([left + width / 2, top + height * (0.5 + BELOW), width * MARGIN, 0.0])
    across = face.eyes[1] - face.eyes[0]
    side = math.hypot(*across) / EYES_APART
    angle = math.atan2(across[1], across[0])
    below = side * (0.5 - EYES_HEIGHT) * np.array([-np.sin(angle), np.cos(angle)])
    return np.array([*(face.eyes.mean(axis=0) + below), side, angle])


def _interpolate(trail: _Trail, values: list[np.ndarray], ticks: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(ticks, trail.ticks, column) for column in np.array(values, float).T], axis=1)


def _smooth(values: np.ndarray, centred: bool) -> np.ndarray:
    """Averages the first two columns over a short time and the others, which hardly change, over a longer one."""
    if centred:  # of a box, the centre moves and the size stays
        values = np.concatenate([values[:, :2] + values[:, 2:] / 2, values[:, 2:]], axis=1)
    position = _average(_average(values[:, :2], SMOOTH_TICKS), SMOOTH_TICKS)
    rest = _average(_average(values[:, 2:], SIZE_TICKS), SIZE_TICKS)
    return np.concatenate([position - rest / 2 if centred else position, rest], axis=1)


def _average(values: np.ndarray, window: int) -> np.ndarray:
    half = window // 2
    before, after = np.repeat(values[:1], half + 1, axis=0), np.repeat(values[-1:], half, axis=0)
    sums = np.cumsum(np.concatenate([before, values, after]), axis=0)
    return (sums[window:] - sums[:-window]) / window


def _crop(picture: np.ndarray, frame: np.ndarray, size: int) -> np.ndarray:
    """The turned square, at size x size; a large one is drawn at twice the size and averaged down."""
    x, y, side, angle = frame
    detail = 2 if side > 1.5 * size else 1
    scale = size * detail / side
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    middle = (size * detail - 1) / 2
    turn = np.array([
        [cosine, sine, middle - cosine * x - sine * y],
        [-sine, cosine, middle + sine * x - cosine * y],
    ])  # fmt: skip
    large = cv2.warpAffine(picture, turn, (size * detail, size * detail), borderMode=cv2.BORDER_REPLICATE)
    return large if detail == 1 else cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)

"""Face tracking: detects faces in key pictures, links them within a shot, smooths boxes, crops every picture."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from merc.data.records.face_tracks import Track, intersection_over_union
from merc.media.faces.detectors import Detector, Face
from merc.media.images import Pictures
from merc.media.spare_threads import ALONE, SpareThreads

KEY_TICKS = 12  # interval of key pictures, in which faces are detected: about half a second
MIN_OVERLAP = 0.25  # minimum overlap (intersection over union) of two boxes of the same face
MAX_GAP_TICKS = 3 * KEY_TICKS  # a face not detected for longer starts a new track
CUT_BRIGHTNESS = 28.0  # mean change of brightness (0-255) between neighbouring pictures at a shot boundary
THUMBNAIL = (32, 18)
POSITION_WINDOW = 7  # window of the moving average of positions; applied twice
SIZE_WINDOW = 25  # that of sizes and angles; applied twice
CROP_SCALE = 1.0  # side of a crop / width of the box
CROP_SHIFT = 0.05  # shift of the crop below the centre of the box / its height: leaves room for an open mouth
EYE_DISTANCE = 0.42  # distance of the eyes / side of an aligned crop
EYE_HEIGHT = 0.36  # distance of the eyes from the crop's upper edge / its height


@dataclass
class _Trail:
    """The detections of one face in the key pictures of a shot."""

    ticks: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)


def track_faces(pictures: Pictures, detector: Detector, size: int, spare: SpareThreads = ALONE) -> list[Track]:
    """All face tracks of a clip, with size x size crops, the longest and then the largest first."""
    tracks = []
    for begin, end in _shots(pictures.ticks):
        keys = _keys(begin, end)
        trails = _link(keys, detector.find([pictures.ticks[key] for key in keys], spare))
        trails = trails or _small_faces(pictures, detector, begin, end)
        tracks += [_track(trail, begin, end, pictures, size) for trail in trails]
    return sorted(tracks, key=lambda track: (-len(track.frames), -float(track.boxes[:, 2].mean())))


def _small_faces(pictures: Pictures, detector: Detector, begin: int, end: int) -> list[_Trail]:
    """The faces of a shot that show only in its pictures of full size; none if the detector has no such search."""
    keys = [tick - pictures.first for tick in pictures.kept if begin <= tick - pictures.first < end]
    if detector.find_small is None or pictures.middle is None:
        return []
    loads = [pictures.kept[key + pictures.first] for key in keys]
    found = detector.find_small(loads, len(pictures.middle))
    return _link(keys, [[_reduced(face, pictures.scale) for face in faces] for faces in found])


def _reduced(face: Face, scale: float) -> Face:
    return Face(face.box / scale, None if face.eyes is None else face.eyes / scale)


def _shots(ticks: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """(begin, end) ticks of each shot."""
    # a screen: single pixels change at least as much as the means of areas, but for chance; 0.9 ms a clip, not 3.6
    pixels = (cv2.resize(picture, THUMBNAIL, interpolation=cv2.INTER_NEAREST) for picture in ticks)
    samples = np.array([cv2.cvtColor(pixel, cv2.COLOR_RGB2GRAY) for pixel in pixels], np.int16)
    changes = np.abs(np.diff(samples, axis=0)).mean(axis=(1, 2)) if len(ticks) else []
    cuts = [
        index + 1
        for index, change in enumerate(changes)
        if change > CUT_BRIGHTNESS / 2 and _change(ticks[index], ticks[index + 1]) > CUT_BRIGHTNESS
    ]
    edges = [0, *cuts, len(ticks)]
    return [(begin, end) for begin, end in itertools.pairwise(edges) if end > begin]


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean change of brightness, 0 to 255, between the thumbnails of two pictures."""
    greys = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after))
    return float(cv2.absdiff(*(cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA) for grey in greys)).mean())


def _keys(begin: int, end: int) -> list[int]:
    """Equally spaced key ticks, including the first and the last of a shot."""
    count = max(round((end - 1 - begin) / KEY_TICKS), 1 if end - begin > 1 else 0) + 1
    return [round(tick) for tick in np.linspace(begin, end - 1, count)]


def _link(keys: list[int], detections: list[list[Face]]) -> list[_Trail]:
    """Link detections by their largest total overlap; drop a face detected only once in a longer shot."""
    trails: list[_Trail] = []
    for key, faces in zip(keys, detections, strict=True):
        open_trails = [trail for trail in trails if key - trail.ticks[-1] <= MAX_GAP_TICKS]
        unmatched = dict(enumerate(faces))
        for trail, index in _matches(open_trails, faces):
            trail.ticks.append(key)
            trail.faces.append(unmatched.pop(index))
        trails += [_Trail([key], [face]) for face in unmatched.values()]
    return [trail for trail in trails if len(trail.ticks) > 1 or len(keys) < 3]


def _matches(trails: list[_Trail], faces: list[Face]) -> list[tuple[_Trail, int]]:
    """Pairs of a trail and the index of its face in the next key picture."""
    overlaps = np.array([
        [intersection_over_union(trail.faces[-1].box, face.box) for face in faces] for trail in trails
    ])  # fmt: skip
    if not overlaps.size:
        return []
    overlaps[overlaps < MIN_OVERLAP] = 0.0
    return [(trails[i], j) for i, j in _pairs(overlaps)]


def _pairs(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """Row and column of the pairs whose overlaps, all above 0, have the largest sum; by row."""
    is_overlap = overlaps > 0
    if max(is_overlap.sum(0).max(), is_overlap.sum(1).max()) < 2:  # no trail and no face has a choice
        return [(int(i), int(j)) for i, j in np.argwhere(is_overlap)]
    from scipy.optimize import linear_sum_assignment  # takes 0.3 s to be imported

    pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
    return [(int(i), int(j)) for i, j in pairs if overlaps[i, j] > 0]


def _track(trail: _Trail, begin: int, end: int, pictures: Pictures, size: int) -> Track:
    first = max(trail.ticks[0] - KEY_TICKS // 2, begin)
    last = min(trail.ticks[-1] + KEY_TICKS // 2, end - 1)
    ticks = np.arange(first, last + 1)
    boxes = _smooth(_interpolate(trail, [face.box for face in trail.faces], ticks), is_box=True)
    squares = _smooth(_interpolate(trail, [_square(face) for face in trail.faces], ticks), is_box=False)
    crops = [_crop(pictures.ticks[tick], square, size) for tick, square in zip(ticks, squares, strict=True)]
    return Track(
        frames=(ticks + pictures.first).astype(np.int32),
        boxes=(boxes * pictures.scale).astype(np.float32),
        crops=np.stack(crops),
    )


def _square(face: Face) -> np.ndarray:
    """The square to crop: centre x, y, side, angle; from the eyes if they are known, else from the box."""
    left, top, width, height = face.box
    if face.eyes is None:
        return np.array([left + width / 2, top + height * (0.5 + CROP_SHIFT), width * CROP_SCALE, 0.0])
    across = face.eyes[1] - face.eyes[0]
    side = math.hypot(*across) / EYE_DISTANCE
    angle = math.atan2(across[1], across[0])
    shift = side * (0.5 - EYE_HEIGHT) * np.array([-np.sin(angle), np.cos(angle)])
    return np.array([*(face.eyes.mean(axis=0) + shift), side, angle])


def _interpolate(trail: _Trail, values: list[np.ndarray], ticks: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(ticks, trail.ticks, column) for column in np.array(values, float).T], axis=1)


def _smooth(values: np.ndarray, is_box: bool) -> np.ndarray:
    """Smooth the first two columns (position) over a short window, the others (size, angle) over a longer one."""
    if is_box:  # left, top -> centre, which is independent of the size
        values = np.concatenate([values[:, :2] + values[:, 2:] / 2, values[:, 2:]], axis=1)
    position = _average(_average(values[:, :2], POSITION_WINDOW), POSITION_WINDOW)
    rest = _average(_average(values[:, 2:], SIZE_WINDOW), SIZE_WINDOW)
    return np.concatenate([position - rest / 2 if is_box else position, rest], axis=1)


def _average(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving average over the rows; the first and the last row are repeated beyond the ends."""
    half = window // 2
    before, after = np.repeat(values[:1], half + 1, axis=0), np.repeat(values[-1:], half, axis=0)
    sums = np.cumsum(np.concatenate([before, values, after]), axis=0)
    return (sums[window:] - sums[:-window]) / window


def _crop(picture: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """The rotated square at size x size pixels; a large one is warped at twice the size and averaged down."""
    x, y, side, angle = square
    oversampling = 2 if side > 1.5 * size else 1
    scale = size * oversampling / side
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    middle = (size * oversampling - 1) / 2
    rotation = np.array([
        [cosine, sine, middle - cosine * x - sine * y],
        [-sine, cosine, middle + sine * x - cosine * y],
    ])  # fmt: skip
    large = cv2.warpAffine(
        picture, rotation, (size * oversampling, size * oversampling), borderMode=cv2.BORDER_REPLICATE
    )
    return large if oversampling == 1 else cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)

"""Which picture of a clip represents it, and how large."""

from collections.abc import Callable

import cv2
import numpy as np

from merc.pictures import Pictures
from merc.tracks import Track


def middle(pictures: Pictures, tracks: list[Track]) -> np.ndarray:
    """The picture nearest to the middle."""
    return pictures.middle


def face(pictures: Pictures, tracks: list[Track]) -> np.ndarray:
    """The picture whose face is largest and sharpest; the middle one where no face is found."""
    scores = {tick: max((_score(track, tick) for track in tracks), default=0.0) for tick in pictures.kept}
    best = max(scores, key=scores.__getitem__, default=None)
    return pictures.kept[best]() if best is not None and scores[best] > 0 else pictures.middle


PORTRAITS: dict[str, Callable[[Pictures, list[Track]], np.ndarray]] = {
    "middle": middle,
    "face": face,
}


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture with its longer side at most so long."""
    factor = side / max(picture.shape[:2])
    return picture if factor >= 1 else cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _score(track: Track, tick: int) -> float:
    """Area times sharpness (variance of the Laplacian: Pech-Pacheco et al., 2000); 0 where the track is not."""
    index = tick - int(track.frames[0])
    if not 0 <= index < len(track.frames):
        return 0.0
    grey = cv2.cvtColor(track.crops[index], cv2.COLOR_RGB2GRAY)
    return float(np.prod(track.boxes[index, 2:]) * cv2.Laplacian(grey, cv2.CV_64F).var())

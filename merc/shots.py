"""Pictures as they come, and those of an utterance, as media.watch gives them of a file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from merc.decoding import Limits
from merc.pictures import Pictures, TickPictures
from merc.problem import Problem


@dataclass(frozen=True)
class Shot:
    """A picture in the codec's colours, `pts` seconds after the recording's `origin`."""

    pts: float
    frame: av.VideoFrame
    origin: float = 0.0
    time_base: None = None  # pts are seconds already

    @property
    def end(self) -> float:
        return self.pts - self.origin


def shot(picture: np.ndarray, seconds: float) -> Shot:
    """An RGB picture (height, width, 3) of a moment."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise Problem(f"a picture of {picture.dtype} {picture.shape}: give RGB bytes (height, width, 3)")
    return Shot(seconds, av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))


def pictures(shots: Iterable[Shot], begin: float, end: float, spacing: float) -> Pictures:
    """The pictures from `begin` to `end`, as media.watch gives those of a file."""
    passing = None
    for one in shots:
        if passing is None:
            passing = _Passing(begin + one.origin, end - begin, spacing)
            reader = TickPictures(passing)
        reader.see(one)
        if reader.full:
            break
    return reader.outcome("") if passing else Pictures(reason="no video stream")


class _Passing:
    """Stands for the stream that shots came from, and for its clock, an utterance long."""

    def __init__(self, origin: float, duration: float, spacing: float) -> None:
        self.clock, self.reformatter, self.trouble, self.apart = self, VideoReformatter(), "", spacing
        self.origin, self.duration, self.end, self.limits = origin, duration, duration, Limits(0.0, duration)

    def seconds(self, stamp: float, thing: Any) -> float:
        return stamp - self.origin

    def size(self, one: Shot) -> tuple[int, int]:
        return one.frame.width, one.frame.height

    def picture(self, one: Shot, size: tuple[int, int] | None = None) -> np.ndarray:
        width, height = size or self.size(one)
        return self.reformatter.reformat(one.frame, width, height, "rgb24").to_ndarray()

    def spacing(self) -> float:
        return self.apart

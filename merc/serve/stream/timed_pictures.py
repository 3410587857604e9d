"""Pictures of a stream with their times, and those of one utterance as merc/media/clip_reader.py reads them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from merc.media.decoding import Limits, MediaStream
from merc.media.images import Pictures, TickPictureReader, tick_size
from merc.runtime.errors import UserError


@dataclass(frozen=True)
class TimedPicture:
    """A picture in the codec's colour space; its time is `pts` - `origin` seconds."""

    pts: float
    frame: av.VideoFrame
    origin: float = 0.0  # pts of the recording's beginning
    time_base: None = None  # as of a frame of PyAV, but pts are already seconds
    reduced: np.ndarray | None = None  # the picture of a tick, RGB

    @property
    def end(self) -> float:
        return self.pts - self.origin


def timed_picture(picture: np.ndarray, seconds: float) -> TimedPicture:
    """An RGB picture (height, width, 3), taken at `seconds`."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise UserError(f"a picture of {picture.dtype} {picture.shape}: give RGB bytes (height, width, 3)")
    return TimedPicture(seconds, av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))


def reduce(picture: TimedPicture, reformatter: VideoReformatter) -> TimedPicture:
    """Add the picture of a tick: computed while an utterance lasts, its answer need not wait for it."""
    width, height = tick_size(picture.frame.width, picture.frame.height)
    reduced = reformatter.reformat(picture.frame, width, height, "rgb24", threads=1).to_ndarray()
    return replace(picture, reduced=reduced)


def utterance_pictures(shots: Iterable[TimedPicture], begin: float, end: float, spacing: float) -> Pictures:
    """The pictures from `begin` to `end` (seconds), `spacing` seconds apart, as by clip_reader.read_pictures."""
    reader = None
    for picture in shots:
        if reader is None:
            stream = _UtteranceStream(begin + picture.origin, end - begin, spacing)
            reader = TickPictureReader(cast("MediaStream", stream))
        reader.see(picture)
        if reader.full:
            break
    return reader.outcome("") if reader else Pictures(reason="no video stream")


class _UtteranceStream:
    """Has the attributes of MediaStream and ClipClock that TickPictureReader uses, for one utterance."""

    def __init__(self, origin: float, duration: float, spacing: float) -> None:
        self.clock, self.reformatter, self.trouble, self.apart = self, VideoReformatter(), "", spacing
        self.origin, self.duration, self.end, self.limits = origin, duration, duration, Limits(0.0, duration)

    def seconds(self, pts: float, picture: TimedPicture) -> float:
        return pts - self.origin

    def size(self, picture: TimedPicture) -> tuple[int, int]:
        return picture.frame.width, picture.frame.height

    def picture(self, picture: TimedPicture, size: tuple[int, int] | None = None) -> np.ndarray:
        width, height = size or self.size(picture)
        if picture.reduced is not None and picture.reduced.shape[:2] == (height, width):
            return picture.reduced
        return self.reformatter.reformat(picture.frame, width, height, "rgb24", threads=1).to_ndarray()

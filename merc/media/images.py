"""The pictures of a clip: the middle one, and one per tick (1 / TRACK_FPS seconds) for face tracking."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from merc.data.records.face_tracks import TRACK_FPS, Track
from merc.media.sound import DAMAGED, TRUNCATED, add_flag

if TYPE_CHECKING:
    import av

    from merc.media.decoding import MediaStream

FULL_SIZE_INTERVAL = 12  # interval between pictures kept in full size, as candidates for the portrait
MAX_HELD_BYTES = 256_000_000  # of packets without a key frame; 15 s at 100 Mbit/s have 190 MB
MAX_TICK_SIDE = 640  # pixels; maximum side of pictures for face tracking, so that a long clip fits in memory


@dataclass
class Pictures:
    """RGB pictures (height, width, 3), or the reason why there are none."""

    middle: np.ndarray | None = None  # full size
    ticks: list[np.ndarray] = field(default_factory=list)  # ticks[i] is at (first + i) / TRACK_FPS seconds
    first: int = 0
    scale: float = 1.0  # source pixels per pixel of a tick's picture
    kept: dict[int, Callable[[], np.ndarray]] = field(default_factory=dict)  # tick -> full-size picture
    flags: list[str] = field(default_factory=list)
    reason: str = ""


class MiddlePictureReader:
    """Reads only the middle picture: decodes from the last key frame before the middle up to the middle."""

    def __init__(self, stream: MediaStream[av.VideoFrame]) -> None:
        self.stream, self.clock = stream, stream.clock
        self.nearest = _Nearest(stream)
        self.packets: list[Any] = []
        self.num_bytes = 0
        self.full = False

    def take(self, packet: Any) -> None:
        """Keep the packets from the last key frame before the middle on."""
        if self.full or packet.size == 0:
            return
        time = self.clock.seconds(packet.pts, packet)
        if packet.is_keyframe and time is not None and time <= self.clock.end / 2:
            self.packets.clear()
            self.num_bytes = 0
        self.num_bytes += packet.size
        if self.num_bytes > MAX_HELD_BYTES:
            self.full, self.stream.trouble = True, f"more than {MAX_HELD_BYTES // 10**6} MB without a key frame"
            return
        self.packets.append(packet)
        decoding_time = self.clock.seconds(packet.dts, packet)
        self.full = decoding_time is not None and decoding_time > self.clock.end / 2

    def finish(self, error: str) -> Pictures:
        """The middle picture; `error` is the message of what stopped the reading, if anything."""
        for packet in [*self.packets, None]:
            for frame in self.stream.decode(packet):
                self.nearest.see(frame)
        return self.nearest.outcome(error)


class TickPictureReader:
    """Decodes all frames: the middle picture, and for every tick the picture nearest to it in time."""

    def __init__(self, stream: MediaStream[av.VideoFrame]) -> None:
        self.stream, self.clock = stream, stream.clock
        self.nearest = _Nearest(stream)
        self.pictures: list[np.ndarray] = []
        self.first = 0
        self.size: tuple[int, int] | None = None
        self.previous: tuple[np.ndarray, float] | None = None
        self.kept: dict[int, Callable[[], np.ndarray]] = {}
        self.full = False

    def take(self, packet: Any) -> None:
        """Decode a packet; None flushes the decoder."""
        for frame in [] if self.full else self.stream.decode(packet):
            self.see(frame)

    def see(self, frame: Any) -> None:
        """Add the next frame."""
        time = self.nearest.see(frame)
        if time is not None:
            self._keep(frame, time)

    def finish(self, error: str) -> Pictures:
        """All pictures; `error` is the message of what stopped the reading, if anything."""
        self.take(None)
        return self.outcome(error)

    def outcome(self, error: str) -> Pictures:
        """The pictures up to the last frame added."""
        self._fill(self.nearest.last + self.stream.apart)
        pictures = self.nearest.outcome(error)
        if pictures.middle is not None and self.size is not None:  # both follow from the first frame
            pictures.ticks, pictures.first, pictures.kept = self.pictures, self.first, self.kept
            pictures.scale = pictures.middle.shape[1] / self.size[0]
        maximum = self.clock.limits.maximum
        if self.full and (length := self.clock.duration or self.nearest.last) > maximum:
            add_flag(pictures, TRUNCATED, f"cut to {maximum:g} s of {length:.1f}")
        return pictures

    def _keep(self, frame: Any, time: float) -> None:
        if self.previous is None:
            self.first, self.size = max(round(time * TRACK_FPS), 0), tick_size(*self.stream.size(frame))
        else:
            self._fill((self.previous[1] + time) / 2)
        self.previous = (self.stream.picture(frame, self.size), time)
        if (tick := round(time * TRACK_FPS)) >= max(self.kept, default=-FULL_SIZE_INTERVAL) + FULL_SIZE_INTERVAL:
            self.kept[tick] = functools.partial(self.stream.picture, frame)  # the frame, not yet converted to RGB
        self.full = time > self.clock.end

    def _fill(self, time: float) -> None:
        """Assign the previous picture to every tick before `time`."""
        end = math.ceil(min(time, self.clock.end) * TRACK_FPS - 1e-6)
        while self.previous is not None and self.first + len(self.pictures) < end:
            self.pictures.append(self.previous[0])


class _Nearest:
    """Keeps the frame nearest to the clip's middle, not yet converted to RGB."""

    def __init__(self, stream: MediaStream[av.VideoFrame]) -> None:
        self.stream, self.clock = stream, stream.clock
        self.frame: Any = None
        self.distance = math.inf
        self.last = -1.0

    def see(self, frame: Any) -> float | None:
        """The frame's time, or None if it is out of order or before the window."""
        time = self.clock.seconds(frame.pts, frame)
        time = max(self.last + self.stream.apart, 0.0) if time is None else time
        if time <= self.last or time < -self.stream.apart:
            return None
        self.last = time
        if abs(time - self.clock.end / 2) < self.distance:
            self.frame, self.distance = frame, abs(time - self.clock.end / 2)
        return time

    def outcome(self, error: str) -> Pictures:
        error = self.stream.trouble or error
        if self.frame is None:
            return Pictures(reason=f"no picture can be decoded{error and ': ' + error}")
        pictures = Pictures(middle=self.stream.picture(self.frame))
        if error:
            add_flag(pictures, DAMAGED, f"decoding went wrong: {error}")
        return pictures


def tick_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture of a tick."""
    factor = min(1.0, MAX_TICK_SIDE / max(width, height))
    return max(round(width * factor), 1), max(round(height * factor), 1)


def middle_portrait(pictures: Pictures, tracks: list[Track]) -> np.ndarray:
    """The picture nearest to the middle of the clip."""
    return cast("np.ndarray", pictures.middle)


def face_portrait(pictures: Pictures, tracks: list[Track]) -> np.ndarray:
    """The picture with the largest and sharpest face; the middle one if there is no face."""
    scores = {tick: max((_score(track, tick) for track in tracks), default=0.0) for tick in pictures.kept}
    best = max(scores, key=scores.__getitem__, default=None)
    return pictures.kept[best]() if best is not None and scores[best] > 0 else middle_portrait(pictures, tracks)


PORTRAITS: dict[str, Callable[[Pictures, list[Track]], np.ndarray]] = {
    "middle": middle_portrait,
    "face": face_portrait,
}


def reduce_to_side(picture: np.ndarray, side: int) -> np.ndarray:
    """Reduce the picture so that its longer side is at most `side` pixels."""
    factor = side / max(picture.shape[:2])
    return picture if factor >= 1 else cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _score(track: Track, tick: int) -> float:
    """Box area times sharpness (variance of the Laplacian: Pech-Pacheco et al., 2000); 0 outside the track."""
    index = tick - int(track.frames[0])
    if not 0 <= index < len(track.frames):
        return 0.0
    grey = cv2.cvtColor(track.crops[index], cv2.COLOR_RGB2GRAY)
    return float(np.prod(track.boxes[index, 2:]) * cv2.Laplacian(grey, cv2.CV_64F).var())

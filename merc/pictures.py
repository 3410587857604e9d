"""The pictures of a clip: the one in the middle, and one for every tick of the face tracks' clock."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from merc.sound import DAMAGED, TRUNCATED, note
from merc.tracks import RATE

if TYPE_CHECKING:
    from merc.decoding import Stream

KEPT_TICKS = 12  # between full-size pictures that are kept: choice enough, and little memory
TICK_SIDE = 640  # pixels; pictures for face tracking are no larger, so that a long clip fits in memory


@dataclass
class Pictures:
    """RGB pictures, or the reason why there are none."""

    middle: np.ndarray | None = None  # full size
    ticks: list[np.ndarray] = field(default_factory=list)  # ticks[i] is at (first + i) / RATE seconds
    first: int = 0
    scale: float = 1.0  # pixels of the source that a tick's pixel is wide
    kept: dict[int, Callable[[], np.ndarray]] = field(default_factory=dict)  # tick -> a full-size picture
    flags: list[str] = field(default_factory=list)
    reason: str = ""


class MiddlePicture:
    """Decodes from the last key frame before the middle up to the middle, and nothing else."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.clock = stream, stream.clock
        self.nearest = _Nearest(stream)
        self.packets: list[Any] = []
        self.full = False

    def take(self, packet: Any) -> None:
        if self.full or packet.size == 0:
            return
        time = self.clock.seconds(packet.pts, packet)
        if packet.is_keyframe and time is not None and time <= self.clock.end / 2:
            self.packets.clear()
        self.packets.append(packet)
        decoded = self.clock.seconds(packet.dts, packet)
        self.full = decoded is not None and decoded > self.clock.end / 2

    def finish(self, broken: str) -> Pictures:
        """The middle picture; `broken` says what stopped the reading, if anything."""
        for packet in [*self.packets, None]:
            for frame in self.stream.decode(packet):
                self.nearest.see(frame)
        return self.nearest.outcome(broken)


class TickPictures:
    """Decodes everything: the middle picture, and for every tick the picture nearest to it in time."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.clock = stream, stream.clock
        self.nearest = _Nearest(stream)
        self.pictures: list[np.ndarray] = []
        self.first = 0
        self.size: tuple[int, int] | None = None
        self.previous: tuple[np.ndarray, float] | None = None
        self.kept: dict[int, Callable[[], np.ndarray]] = {}
        self.full = False

    def take(self, packet: Any) -> None:
        for frame in [] if self.full else self.stream.decode(packet):
            self.see(frame)

    def see(self, frame: Any) -> None:
        """One more frame, in order."""
        time = self.nearest.see(frame)
        if time is not None:
            self._keep(frame, time)

    def finish(self, broken: str) -> Pictures:
        """Everything; `broken` says what stopped the reading, if anything."""
        self.take(None)
        return self.outcome(broken)

    def outcome(self, broken: str) -> Pictures:
        """What was seen so far."""
        self._fill(self.nearest.last + self.stream.apart)
        pictures = self.nearest.outcome(broken)
        if pictures.middle is not None:
            pictures.ticks, pictures.first, pictures.kept = self.pictures, self.first, self.kept
            pictures.scale = pictures.middle.shape[1] / self.size[0]
        maximum = self.clock.limits.maximum
        if self.full and (length := self.clock.duration or self.nearest.last) > maximum:
            note(pictures, TRUNCATED, f"cut to {maximum:g} s of {length:.1f}")
        return pictures

    def _keep(self, frame: Any, time: float) -> None:
        if self.previous is None:
            self.first, self.size = max(round(time * RATE), 0), _fit(*self.stream.size(frame))
        else:
            self._fill((self.previous[1] + time) / 2)
        self.previous = (self.stream.picture(frame, self.size), time)
        if (tick := round(time * RATE)) >= max(self.kept, default=-KEPT_TICKS) + KEPT_TICKS:
            self.kept[tick] = functools.partial(self.stream.picture, frame)  # still in the codec's colours
        self.full = time > self.clock.end

    def _fill(self, time: float) -> None:
        """Give the previous picture to every tick before `time`."""
        end = math.ceil(min(time, self.clock.end) * RATE - 1e-6)
        while self.previous is not None and self.first + len(self.pictures) < end:
            self.pictures.append(self.previous[0])


class _Nearest:
    """Keeps the frame nearest to the clip's middle, undecoded colours and all."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.clock = stream, stream.clock
        self.frame: Any = None
        self.distance = math.inf
        self.last = -1.0

    def see(self, frame: Any) -> float | None:
        """The frame's time, or None if it is out of order."""
        time = self.clock.seconds(frame.pts, frame)
        time = max(self.last + self.stream.apart, 0.0) if time is None else time
        if time <= self.last or time < -self.stream.apart:  # the second: before the window
            return None
        self.last = time
        if abs(time - self.clock.end / 2) < self.distance:
            self.frame, self.distance = frame, abs(time - self.clock.end / 2)
        return time

    def outcome(self, broken: str) -> Pictures:
        trouble = self.stream.trouble or broken
        if self.frame is None:
            return Pictures(reason=f"no picture can be decoded{trouble and ': ' + trouble}")
        pictures = Pictures(middle=self.stream.picture(self.frame))
        if trouble:
            note(pictures, DAMAGED, f"decoding went wrong: {trouble}")
        return pictures


def _fit(width: int, height: int) -> tuple[int, int]:
    shrink = min(1.0, TICK_SIDE / max(width, height))
    return max(round(width * shrink), 1), max(round(height * shrink), 1)

"""A clip's streams while they are decoded: what goes wrong is remembered, never raised."""

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from merc.sound import SAMPLE_RATE

BROKEN = (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)  # what PyAV raises on broken files
TOGETHER = 16384  # samples that are resampled at once: each call costs as much as a thousand


@dataclass(frozen=True)
class Limits:
    """Seconds; a shorter sound is padded with silence, a longer clip is cut."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class Window:
    """The part of a recording that is an utterance: seconds, and the share of the picture's width that is kept."""

    start: float
    end: float
    columns: tuple[float, float] = (0.0, 1.0)


class Clock:
    """Seconds since the clip, or the window of it, began; the same for sound and picture."""

    def __init__(self, container: av.container.InputContainer, limits: Limits, window: Window | None) -> None:
        self.limits = limits
        self.columns = window.columns if window else (0.0, 1.0)
        self.origin = (container.start_time or 0) / av.time_base + (window.start if window else 0.0)
        known = container.duration is not None and container.duration > 0
        self.duration = container.duration / av.time_base if known else None
        if window is not None:
            end = window.end if self.duration is None else min(window.end, self.duration)
            self.duration = max(end - window.start, 0.0)
        self.end = min(self.duration or limits.maximum, limits.maximum)
        self.last = self.end if window else limits.maximum  # where the sound's reading may stop

    def seconds(self, stamp: int | None, thing: av.Packet | av.AudioFrame | av.VideoFrame) -> float | None:
        if stamp is None or (base := thing.time_base) is None:
            return None
        return stamp * base.numerator / base.denominator - self.origin


class Stream:
    """One stream of a clip; decoding never raises, but remembers what went wrong."""

    def __init__(self, source: av.AudioStream | av.VideoStream, clock: Clock) -> None:
        self.source, self.clock, self.index = source, clock, source.index
        if not self.source.codec_context.is_open:
            self.source.thread_count = 1  # parallelism is over clips
        self.trouble = ""
        self.apart = 1 / float(getattr(source, "average_rate", None) or 25)  # seconds between pictures
        self.reformatter = VideoReformatter()
        self.resampler, self.waiting = _resampler(), av.AudioFifo()

    def decode(self, packet: av.Packet | None) -> list[av.AudioFrame] | list[av.VideoFrame]:
        """The frames that a packet completes; of None, those that are left."""
        try:
            return self.source.decode(packet)
        except EOFError:  # flushed before
            return []
        except BROKEN as error:
            self.trouble = self.trouble or in_words(error)
            return []

    def resample(self, frame: av.AudioFrame | None) -> list[np.ndarray]:
        """Mono samples at SAMPLE_RATE; of None, those that are left."""
        if frame is not None:
            frame.pts = None  # with times the resampler would fill gaps by its own idea of them
        try:
            return [_samples(one) for one in self.resampler.resample(frame)]
        except ValueError:  # layout or rate changed within the stream
            left, self.resampler = self.resampler.resample(None), _resampler()
            return [_samples(one) for one in [*left, *self.resampler.resample(frame)]]

    def gather(self, frame: av.AudioFrame | None) -> list[np.ndarray]:
        """As `resample`, but many frames at once, as they come; of None, those that are left."""
        if frame is None:
            return [*self._waited(), *self.resample(None)]
        frame.pts, before = None, []
        try:
            self.waiting.write(frame)
        except ValueError:  # layout or rate changed within the stream
            before, self.waiting = self._waited(), av.AudioFifo()
            self.waiting.write(frame)
        return before if self.waiting.samples < TOGETHER else [*before, *self._waited()]

    def _waited(self) -> list[np.ndarray]:
        frame = self.waiting.read()
        return [] if frame is None else self.resample(frame)

    def size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of what is kept of the frame."""
        left, right = (round(share * frame.width) for share in self.clock.columns)
        return max(right - left, 1), frame.height

    def picture(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
        """What is kept of the frame as RGB, at a size (width, height) or its own."""
        width, height = size or self.size(frame)
        first, last = self.clock.columns
        if (first, last) == (0.0, 1.0):
            return self.reformatter.reformat(frame, width, height, "rgb24").to_ndarray()
        whole = frame.width if size is None else max(round(width / (last - first)), width)
        left = min(round(first * whole), whole - width)
        picture = self.reformatter.reformat(frame, whole, height, "rgb24").to_ndarray()
        return np.ascontiguousarray(picture[:, left : left + width])


def _samples(frame: av.AudioFrame) -> np.ndarray:
    return frame.to_ndarray().reshape(-1)


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)


def in_words(error: BaseException) -> str:
    """The error in words, without the path that PyAV appends."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

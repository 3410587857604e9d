"""Decoding of a clip's streams by PyAV; errors are recorded in the stream, not raised."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast, overload

import av
import numpy as np
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.video.reformatter import VideoReformatter

from merc.data.records.listing import Window
from merc.media.resampling import Resampler

# what PyAV raises on broken files
DECODING_ERRORS = (FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)
# formats whose streams appear with their first packet: FFmpeg looks for them in the first 5 MB alone
GROWING_FORMATS = ("flv", "mpegts", "mpeg")
# Demuxers that read the one file they are given. FFmpeg chooses by content: its concat, HLS, DASH, SDP and image
# sequence demuxers would open whatever a file of any name tells them to.
FORMATS = (
    *("mov", "matroska", "avi", "flv", "mpeg", "mpegts", "mpegvideo", "asf", "mxf", "nut", "ogg", "ivf", "dv"),
    *("h264", "hevc", "m4v", "obu", "gif", "rm", "3gp", "wav", "w64", "flac", "mp3", "aac", "ac3", "eac3", "aiff"),
    *("au", "caf", "amr", "wv", "tta", "ape"),
)
ONE_FILE = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file,pipe"}  # each alone leaks
MAX_PIXELS = 40_000_000  # larger pictures are refused, before or while they are decoded
MAX_SIDE = 1920  # pixels; larger frames are reduced at once, as 30 of a clip are kept: 11 MB each
MAX_STREAMS = 64  # a recording of many languages has 40
# packets that are read at most; the densest sound has some 750 a second
MIN_PACKETS, PACKETS_PER_SECOND = 20_000, 2_000
DEEP_PROBE = {"analyzeduration": "60000000", "probesize": str(64 << 20)}  # microseconds, bytes
RESAMPLING_BLOCK = 16384  # samples per call of the resampler: a call has the fixed cost of about 1000 samples

Frame = TypeVar("Frame", av.AudioFrame, av.VideoFrame)


@dataclass(frozen=True)
class Limits:
    """Seconds: a shorter sound is padded with silence, a longer clip is truncated."""

    minimum: float
    maximum: float


def open_media(path: Path) -> InputContainer:
    """Open a recording; one that lacks sound or pictures is searched deeper for a stream that begins late."""
    try:
        container = av.open(str(path), options=ONE_FILE, metadata_errors="replace")
    except ArgumentError:
        raise ValueError("its format is none of those that are read") from None
    if (count := len(container.streams)) > MAX_STREAMS:
        container.close()
        raise ValueError(f"it has {count} streams, more than {MAX_STREAMS}")
    is_complete = container.streams.audio and container.streams.video
    if is_complete or container.format.name not in GROWING_FORMATS:
        return container
    container.close()
    return av.open(str(path), options=ONE_FILE | DEEP_PROBE, metadata_errors="replace")


def demux(
    container: InputContainer, streams: Sequence[av.AudioStream | av.VideoStream], seconds: float = math.inf
) -> Iterator[av.Packet]:
    """The packets of the streams, then an empty one of each; a ValueError if far more than `seconds` can have.

    A stream that FFmpeg finds only while reading is not known to PyAV 18.1.0, whose `demux` may then raise an
    IndexError after all packets of the known ones: its buffer has the size of the streams known at the start.
    """
    num_packets = 0
    with suppress(IndexError):
        for packet in container.demux(list(streams)) if streams else ():
            if (num_packets := num_packets + 1) > MIN_PACKETS + PACKETS_PER_SECOND * seconds:
                raise ValueError(f"it has more than {num_packets - 1:,} packets in {seconds:g} s")
            yield packet


class ClipClock:
    """Seconds since the start of the clip, or of a window of it; common to sound and video."""

    def __init__(self, container: InputContainer, limits: Limits, window: Window | None) -> None:
        self.limits = limits
        self.columns = window.columns if window else (0.0, 1.0)
        self.origin = (container.start_time or 0) / av.time_base + (window.start if window else 0.0)
        duration = container.duration
        self.duration = duration / av.time_base if duration is not None and duration > 0 else None
        if window is not None:
            end = window.end if self.duration is None else min(window.end, self.duration)
            self.duration = max(end - window.start, 0.0)
        self.end = min(self.duration or limits.maximum, limits.maximum)
        self.reach = window.end if window else limits.maximum  # seconds of the recording that are read at most

    def seconds(self, stamp: int | None, item: av.Packet | av.AudioFrame | av.VideoFrame) -> float | None:
        """The time of a packet's or frame's time stamp, or None if unknown."""
        if stamp is None or (base := item.time_base) is None:
            return None
        return stamp * base.numerator / base.denominator - self.origin


class MediaStream(Generic[Frame]):
    """One stream of a clip; decoding never raises, the first error is kept in `trouble`."""

    @overload
    def __init__(self: "MediaStream[av.AudioFrame]", source: av.AudioStream, clock: ClipClock) -> None: ...
    @overload
    def __init__(self: "MediaStream[av.VideoFrame]", source: av.VideoStream, clock: ClipClock) -> None: ...
    def __init__(self, source: av.AudioStream | av.VideoStream, clock: ClipClock) -> None:
        self.source, self.clock, self.index = source, clock, source.index
        if not self.source.codec_context.is_open:
            self.source.codec_context.thread_count = 1  # clips are decoded in parallel
            self.source.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        width, height = getattr(source, "width", 0), getattr(source, "height", 0)
        self.is_refused = width * height > MAX_PIXELS
        self.trouble = (
            f"{width} x {height} pixels are above {MAX_PIXELS // 10**6} megapixels" if self.is_refused else ""
        )
        self.apart = 1 / float(getattr(source, "average_rate", None) or 25)  # seconds between video frames
        self.reformatter = VideoReformatter()
        self.resampler, self.buffer = Resampler(), av.AudioFifo()

    def decode(self, packet: av.Packet | None) -> list[Frame]:
        """The frames that a packet completes; None flushes the decoder."""
        if self.is_refused:
            return []
        try:
            return [cast("Frame", self._reduced(frame)) for frame in self.source.decode(packet)]
        except EOFError:  # already flushed
            return []
        except DECODING_ERRORS as error:
            self.trouble = self.trouble or error_message(error)
            return []

    def _reduced(self, frame: av.AudioFrame | av.VideoFrame) -> av.AudioFrame | av.VideoFrame:
        """The frame; a picture at most MAX_SIDE pixels wide and high."""
        if isinstance(frame, av.AudioFrame) or max(frame.width, frame.height) <= MAX_SIDE:
            return frame
        factor = MAX_SIDE / max(frame.width, frame.height)
        width, height = (max(round(side * factor), 1) for side in (frame.width, frame.height))
        return self.reformatter.reformat(frame, width, height, "rgb24", threads=1)

    def resample(self, frame: av.AudioFrame | None) -> list[np.ndarray]:
        """Mono samples at SAMPLE_RATE; None flushes the resampler."""
        if frame is not None:
            frame.pts = None  # with time stamps, the resampler would insert silence into gaps
        try:
            return [_samples(resampled) for resampled in self.resampler.resample(frame)]
        except ValueError:  # layout or rate changed within the stream
            remaining, self.resampler = self.resampler.resample(None), Resampler()
            return [_samples(resampled) for resampled in [*remaining, *self.resampler.resample(frame)]]

    def gather(self, frame: av.AudioFrame | None) -> list[np.ndarray]:
        """As `resample`, but buffers frames and resamples many at once; None flushes the buffer."""
        if frame is None:
            return [*self._resample_buffer(), *self.resample(None)]
        frame.pts, samples = None, []
        try:
            self.buffer.write(frame)
        except ValueError:  # layout or rate changed within the stream
            samples, self.buffer = self._resample_buffer(), av.AudioFifo()
            self.buffer.write(frame)
        return samples if self.buffer.samples < RESAMPLING_BLOCK else [*samples, *self._resample_buffer()]

    def _resample_buffer(self) -> list[np.ndarray]:
        frame = self.buffer.read()
        return [] if frame is None else self.resample(frame)

    def size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of the kept columns of a frame."""
        left, right = (round(fraction * frame.width) for fraction in self.clock.columns)
        return max(right - left, 1), frame.height

    def picture(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
        """The kept columns of a frame as RGB, at a size (width, height) or its original one."""
        width, height = size or self.size(frame)
        first, last = self.clock.columns
        if (first, last) == (0.0, 1.0):
            return self.reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray()
        full_width = frame.width if size is None else max(round(width / (last - first)), width)
        left = min(round(first * full_width), full_width - width)
        picture = self.reformatter.reformat(frame, full_width, height, "rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(picture[:, left : left + width])


def _samples(frame: av.AudioFrame) -> np.ndarray:
    return frame.to_ndarray().reshape(-1)


def error_message(error: BaseException) -> str:
    """The error message without the path that PyAV appends."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

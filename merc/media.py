"""Video and audio files: one open of a clip yields its sound and its pictures, on one clock."""

import io
import itertools
import math
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from merc.pictures import MiddlePicture, Pictures, TickPictures
from merc.sound import SAMPLE_RATE, Sound, SoundReader

BROKEN = (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)  # what PyAV raises on broken files


PREROLL = 0.5  # seconds that are decoded before a window: codecs need some to settle
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


def read(path: Path, limits: Limits, ticks: bool, window: Window | None = None) -> tuple[Sound, Pictures]:
    """Sound and pictures of a clip, or of a window of it; what is wrong with it becomes a reason, no exception."""
    try:
        if path.stat().st_size == 0:
            return Sound(reason="the file is empty"), Pictures(reason="the file is empty")
        with av.open(str(path), metadata_errors="replace") as container:
            if window is not None and window.start > PREROLL:
                container.seek(round((window.start - PREROLL) * av.time_base) + (container.start_time or 0))
            clock = Clock(container, limits, window)
            if clock.duration == 0:
                reason = f"the recording ends before {window.start:.2f} s, where the utterance begins"
                return Sound(reason=reason), Pictures(reason=reason)
            return _read_open(container, clock, ticks)
    except BROKEN as error:
        reason = f"cannot be opened: {in_words(error)}"
        return Sound(reason=reason), Pictures(reason=reason)


def listen(path: Path, limits: Limits) -> Sound:
    """The sound of a recording alone, which may be hours long."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            audio = next(iter(container.streams.audio), None)
            if audio is None:
                return Sound(reason="no audio stream")
            reader = SoundReader(Stream(audio, Clock(container, limits, None)))
            return reader.finish(_demux(container, [reader]))
    except BROKEN as error:
        return Sound(reason=f"cannot be opened: {in_words(error)}")


def watch(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[Pictures]:
    """The pictures of each span (seconds; in order) of a recording that may be long; a frame is decoded once."""
    told = 0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            for pictures in _watch_open(container, spans):
                yield pictures
                told += 1
    except BROKEN as error:
        yield from (Pictures(reason=f"cannot be read: {in_words(error)}") for _ in spans[told:])


def _watch_open(container: av.container.InputContainer, spans: Sequence[tuple[float, float]]) -> Iterator[Pictures]:
    video = film(container)
    if video is None:
        yield from (Pictures(reason="no video stream") for _ in spans)
        return
    whole = Stream(video, Clock(container, Limits(0.0, math.inf), None))
    packets = (packet for packet in container.demux(video) if packet.stream_index == video.index)
    frames = (frame for packet in packets for frame in whole.decode(packet))
    left: list[av.VideoFrame] = []  # the frames around the end of a span may be the first of the next
    for begin, end in spans:
        clock = Clock(container, Limits(0.0, end - begin), Window(begin, end))
        reader = TickPictures(Stream(video, clock))
        for frame in itertools.chain(left, frames):
            reader.see(frame)
            left = [*left[-1:], frame]
            if reader.full:
                break
        yield reader.outcome(whole.trouble)


def seconds(path: Path) -> float | None:
    """A clip's length by its header, or None if it cannot be opened."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return container.duration / av.time_base if container.duration else None
    except BROKEN:
        return None


def wav(samples: np.ndarray) -> bytes:
    """A .wav file's content: 16 kHz mono PCM16."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def _read_open(container: av.container.InputContainer, clock: "Clock", ticks: bool) -> tuple[Sound, Pictures]:
    audio = next(iter(container.streams.audio), None)
    video = film(container)
    sound = SoundReader(Stream(audio, clock)) if audio else None
    pictures = (TickPictures if ticks else MiddlePicture)(Stream(video, clock)) if video else None
    broken = _demux(container, [reader for reader in (sound, pictures) if reader is not None])
    return (
        sound.finish(broken) if sound else Sound(reason="no audio stream"),
        pictures.finish(broken) if pictures else Pictures(reason="no video stream"),
    )


def _demux(
    container: av.container.InputContainer, readers: list[SoundReader | MiddlePicture | TickPictures]
) -> str:
    """Hand every packet to its reader, until each has enough; what broke, in words."""
    by_index = {reader.stream.index: reader for reader in readers}
    try:
        for packet in container.demux([reader.stream.source for reader in readers]) if readers else ():
            if packet.stream_index in by_index:  # at the end come packets, all empty, of the other streams too
                by_index[packet.stream_index].take(packet)
            if all(reader.full for reader in readers):
                break
    except BROKEN as error:
        return in_words(error)
    return ""


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


def film(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video stream that is not the picture of an album."""
    cover = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def in_words(error: BaseException) -> str:
    """The error in words, without the path that PyAV appends."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

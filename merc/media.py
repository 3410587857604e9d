"""Video and audio files: one open of a clip yields its sound and its pictures, on one clock."""

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from merc.pictures import MiddlePicture, Pictures, TickPictures
from merc.sound import SAMPLE_RATE, Sound, SoundReader

BROKEN = (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)  # what PyAV raises on broken files


@dataclass(frozen=True)
class Limits:
    """Seconds; a shorter sound is padded with silence, a longer clip is cut."""

    minimum: float
    maximum: float


def read(path: Path, limits: Limits, ticks: bool) -> tuple[Sound, Pictures]:
    """Sound and pictures of a clip; whatever is wrong with it becomes a reason, never an exception."""
    try:
        if path.stat().st_size == 0:
            return Sound(reason="the file is empty"), Pictures(reason="the file is empty")
        with av.open(str(path), metadata_errors="replace") as container:
            return _read_open(container, Clock(container, limits), ticks)
    except BROKEN as error:
        reason = f"cannot be opened: {_words(error)}"
        return Sound(reason=reason), Pictures(reason=reason)


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
    video = next((stream for stream in container.streams.video if not _is_cover(stream)), None)
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
            by_index[packet.stream_index].take(packet)
            if all(reader.full for reader in readers):
                break
    except BROKEN as error:
        return _words(error)
    return ""


class Clock:
    """Seconds since the clip began, the same for sound and picture."""

    def __init__(self, container: av.container.InputContainer, limits: Limits) -> None:
        self.limits = limits
        self.origin = (container.start_time or 0) / av.time_base
        known = container.duration is not None and container.duration > 0
        self.duration = container.duration / av.time_base if known else None
        self.end = min(self.duration or limits.maximum, limits.maximum)

    def seconds(self, stamp: int | None, thing: av.Packet | av.AudioFrame | av.VideoFrame) -> float | None:
        if stamp is None or thing.time_base is None:
            return None
        return float(stamp * thing.time_base) - self.origin


class Stream:
    """One stream of a clip; decoding never raises, but remembers what went wrong."""

    def __init__(self, source: av.AudioStream | av.VideoStream, clock: Clock) -> None:
        self.source, self.clock, self.index = source, clock, source.index
        self.source.thread_count = 1  # parallelism is over clips
        self.trouble = ""
        self.reformatter = VideoReformatter()
        self.resampler = _resampler()

    def decode(self, packet: av.Packet | None) -> list[av.AudioFrame] | list[av.VideoFrame]:
        """The frames that a packet completes; of None, those that are left."""
        try:
            return self.source.decode(packet)
        except EOFError:  # flushed before
            return []
        except BROKEN as error:
            self.trouble = self.trouble or _words(error)
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

    def picture(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
        """The frame as RGB, at a size (width, height) or its own."""
        width, height = size or (frame.width, frame.height)
        return self.reformatter.reformat(frame, width, height, "rgb24").to_ndarray()

    def spacing(self) -> float:
        """Seconds between pictures."""
        return 1 / float(self.source.average_rate or 25)


def _samples(frame: av.AudioFrame) -> np.ndarray:
    return frame.to_ndarray().reshape(-1)


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)


def _is_cover(stream: av.VideoStream) -> bool:
    """A picture of the album, not a film."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _words(error: BaseException) -> str:
    """The error in words, without the path that PyAV appends."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

"""Sound and pictures as they come: from a file, a pipe, a microphone, a camera; on the clock of media.py."""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from merc.media import BROKEN, Clock, Limits, Stream, _words
from merc.pictures import Pictures, TickPictures
from merc.problem import Problem
from merc.sound import SAMPLE_RATE

CHUNK = 1600  # samples of raw sound that are read at once: 0.1 s
MOST_SECONDS = 25.0  # of pictures that are kept at all: more than the longest utterance with its pause
# what the first bytes of a file are in which sound or pictures are wrapped; anything else is raw samples
MAGIC = ((0, b"RIFF"), (4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"OggS"), (0, b"fLaC"), (0, b"ID3"), (0, b"FLV"))
PACKET, SYNC = 188, 0x47  # of an MPEG transport stream
DEVICES = {  # platform -> what: PyAV's format, name, options
    "linux": {
        "microphone": ("alsa", "default", {"sample_rate": str(SAMPLE_RATE), "channels": "1"}),
        "camera": ("v4l2", "/dev/video0", {"video_size": "640x480"}),
    },
    "darwin": {
        "microphone": ("avfoundation", ":default", {}),
        "camera": ("avfoundation", "default:none", {"video_size": "640x480", "framerate": "30"}),
    },
}


@dataclass(frozen=True)
class Heard:
    """The next samples, 16 kHz mono PCM16; `end` seconds of sound have been heard with them."""

    samples: np.ndarray
    end: float


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


class Source:
    """A container that is read from its beginning to its end, once."""

    def __init__(self, container: av.container.InputContainer, name: str) -> None:
        self.container, self.name = container, name
        self.clock = Clock(container, Limits(0.0, math.inf), None)
        self.audio = next(iter(container.streams.audio), None)
        self.video = next(iter(container.streams.video), None)
        self.spacing = 1 / float((self.video and self.video.average_rate) or 25)

    def flow(self) -> Iterator[Heard | Shot]:
        """Everything that is heard and seen, in the order in which it is stored."""
        heard = _Ear(Stream(self.audio, self.clock)) if self.audio else None
        seen = Stream(self.video, self.clock) if self.video else None
        streams = [stream for stream in (self.audio, self.video) if stream is not None]
        try:
            for packet in self.container.demux(streams) if streams else ():
                if heard and packet.stream.index == self.audio.index:
                    yield from heard.take(packet)
                elif seen:
                    yield from self._shots(seen, packet)
        except BROKEN as error:
            print(f"merc: {self.name}: ends early: {_words(error)}", file=sys.stderr)
        yield from heard.finish() if heard else ()

    def _shots(self, stream: Stream, packet: Any) -> Iterator[Shot]:
        for frame in stream.decode(packet):
            if frame.pts is not None:
                yield Shot(float(frame.pts * frame.time_base), frame, self.clock.origin)


class _Ear:
    """Resampled sound with sample 0 at the recording's beginning, without the codec's padding at its end."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.count, self.begun = stream, 0, False
        self.skip = 0  # samples before the recording's beginning
        duration = stream.clock.duration
        self.most = math.inf if duration is None else round(duration * SAMPLE_RATE)

    def take(self, packet: Any) -> Iterator[Heard]:
        for frame in self.stream.decode(packet):
            if not self.begun:
                self.begun = True
                late = round((self.stream.clock.seconds(frame.pts, frame) or 0.0) * SAMPLE_RATE)
                self.skip = max(-late, 0)
                yield from self._heard(np.zeros(max(late, 0), np.int16))
            for samples in self.stream.resample(frame):
                yield from self._heard(samples)

    def finish(self) -> Iterator[Heard]:
        for samples in self.stream.resample(None) if self.begun else ():
            yield from self._heard(samples)

    def _heard(self, samples: np.ndarray) -> Iterator[Heard]:
        skipped = min(self.skip, len(samples))
        self.skip -= skipped
        samples = samples[skipped:][: max(self.most - self.count, 0) if self.most < math.inf else None]
        if len(samples):
            self.count += len(samples)
            yield Heard(samples, self.count / SAMPLE_RATE)


def file(path: Any, name: str) -> Source:
    """A recording, or anything with `read`, that is read as it comes."""
    try:
        return Source(av.open(path if hasattr(path, "read") else str(path), metadata_errors="replace"), name)
    except BROKEN as error:
        raise Problem(f"{name}: cannot be opened: {_words(error)}") from None


def device(kind: str) -> Source:
    """The first microphone, or camera."""
    if sys.platform not in DEVICES:
        raise Problem(f"{kind}: merc knows how to open it on Linux and macOS only; pipe its sound into --stream -")
    format_, name, options = DEVICES[sys.platform][kind]
    try:
        return Source(av.open(name, format=format_, options=options), kind)
    except BROKEN as error:
        reason = f"{kind}: none can be opened here ({format_} {name}: {_words(error)})"
        raise Problem(
            f"{reason}; plug one in, or stream a file or standard input (--stream FILE, --stream -)"
        ) from None


def standard_input(stream: BinaryIO) -> Source | Iterator[Heard]:
    """What a pipe brings: a container by its first bytes, else raw 16 kHz mono PCM16, little-endian."""
    first = stream.read(2 * PACKET + 1)
    if not first:
        raise Problem("standard input is empty; pipe a recording or 16 kHz mono PCM16 into it")
    rest = _Again(first, stream)
    if _wrapped(first):
        return file(rest, "standard input")
    return _raw(rest)


def _wrapped(first: bytes) -> bool:
    transport = [first[place] for place in range(0, len(first), PACKET)] == [SYNC] * 3
    return transport or any(first[place:].startswith(magic) for place, magic in MAGIC)


def _raw(stream: "_Again") -> Iterator[Heard]:
    count, left = 0, b""
    while chunk := stream.read(2 * CHUNK):
        chunk = left + chunk
        left = chunk[len(chunk) // 2 * 2 :]
        samples = np.frombuffer(chunk[: len(chunk) // 2 * 2], "<i2").astype(np.int16)
        count += len(samples)
        yield Heard(samples, count / SAMPLE_RATE)


class _Again:
    """A pipe whose first bytes were read already."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self.first, self.stream = first, stream

    def read(self, size: int) -> bytes:
        if self.first:
            taken, self.first = self.first[:size], self.first[size:]
            return taken
        read = getattr(self.stream, "read1", self.stream.read)  # what is there, without waiting for more
        return read(size)

"""Sound and pictures as they come: from a file, a pipe, a device; on the clock of decoding.py."""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np

from merc import media
from merc.decoding import BROKEN, Clock, Limits, Stream, in_words
from merc.problem import Problem
from merc.shots import Shot
from merc.sound import SAMPLE_RATE

CHUNK = 1600  # samples of raw sound that are read at once: 0.1 s
# what the first bytes of a file are in which sound or pictures are wrapped; anything else is raw samples
MAGIC = ((0, b"RIFF"), (4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"OggS"), (0, b"fLaC"), (0, b"ID3"), (0, b"FLV"))
PACKET, SYNC = 188, 0x47  # of an MPEG transport stream
SPACING = 1 / 25  # seconds between pictures, where nobody knows better


@dataclass(frozen=True)
class Heard:
    """The next samples, 16 kHz mono PCM16; `end` seconds of sound have been heard with them."""

    samples: np.ndarray
    end: float


class Source:
    """A container that is read from its beginning to its end, once."""

    def __init__(self, container: av.container.InputContainer, name: str) -> None:
        self.container, self.name = container, name
        self.clock = Clock(container, Limits(0.0, math.inf), None)
        self.audio, self.video = media.voice(container), media.film(container)
        self.spacing = 1 / float((self.video and self.video.average_rate) or 1 / SPACING)

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
            print(f"merc: {self.name}: ends early: {in_words(error)}", file=sys.stderr)
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


class Samples:
    """Raw 16 kHz mono PCM16, little-endian, out of a pipe."""

    audio, video, spacing = True, None, SPACING

    def __init__(self, stream: "_Again") -> None:
        self.stream = stream

    def flow(self) -> Iterator[Heard]:
        """All of it, as it comes."""
        count, left = 0, b""
        while chunk := self.stream.read(2 * CHUNK):
            chunk = left + chunk
            left = chunk[len(chunk) // 2 * 2 :]
            samples = np.frombuffer(chunk[: len(chunk) // 2 * 2], "<i2").astype(np.int16)
            count += len(samples)
            yield Heard(samples, count / SAMPLE_RATE)


def file(path: Any, name: str, format: str | None = None, options: dict[str, str] | None = None) -> Source:
    """A recording, anything with `read`, or what FFmpeg's `format` knows by this name, read as it comes."""
    given = path if hasattr(path, "read") else str(path)
    try:
        return Source(av.open(given, format=format, options=options, metadata_errors="replace"), name)
    except BROKEN as error:
        raise Problem(f"{name}: cannot be opened: {in_words(error)}") from None


def standard_input(stream: BinaryIO) -> Source | Samples:
    """What a pipe brings: a container by its first bytes, else raw samples."""
    first = stream.read(2 * PACKET + 1)
    if not first:
        raise Problem("standard input is empty; pipe a recording or 16 kHz mono PCM16 into it")
    rest = _Again(first, stream)
    return file(rest, "standard input") if _wrapped(first) else Samples(rest)


def paced(flow: Iterator[Heard | Shot]) -> Iterator[Heard | Shot]:
    """A recording as slowly as it plays."""
    began = time.monotonic()
    for item in flow:
        time.sleep(max(began + item.end - time.monotonic(), 0.0))
        yield item


def _wrapped(first: bytes) -> bool:
    transport = [first[place] for place in range(0, len(first), PACKET)] == [SYNC] * 3
    return transport or any(first[place:].startswith(magic) for place, magic in MAGIC)


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

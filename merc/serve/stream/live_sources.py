"""Live sources: sound and pictures of a file, a pipe or a device, in order of arrival, timed as by decoding.py."""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.container import InputContainer

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.media import clip_reader
from merc.media.decoding import DECODING_ERRORS, ONE_FILE, ClipClock, Limits, MediaStream, demux, error_message
from merc.runtime.errors import UserError
from merc.serve.stream.timed_pictures import TimedPicture

CHUNK_SAMPLES = 1600  # samples of raw sound per read: 0.1 s
# signatures (offset, bytes) of container formats; anything else is taken for raw samples
CONTAINER_SIGNATURES = (
    (0, b"RIFF"),
    (4, b"ftyp"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"FLV"),
)
TS_PACKET_BYTES, TS_SYNC_BYTE = 188, 0x47  # length of an MPEG transport stream's packets, and their first byte
STANDARD_INPUT = "standard input"
DEFAULT_SPACING = 1 / 25  # seconds between pictures, where the container has no frame rate


@dataclass(frozen=True)
class AudioChunk:
    """The next samples, 16 kHz mono PCM16; `end` is the time of the last one in seconds."""

    samples: np.ndarray
    end: float


class ContainerSource:
    """A container (file, pipe or device), read once from beginning to end."""

    def __init__(self, container: InputContainer, name: str) -> None:
        self.container, self.name = container, name
        self.clock = ClipClock(container, Limits(0.0, math.inf), None)
        self.audio = clip_reader.first_audio_stream(container)
        self.video = clip_reader.first_video_stream(container)
        self.spacing = 1 / float((self.video and self.video.average_rate) or 1 / DEFAULT_SPACING)

    def flow(self) -> Iterator[AudioChunk | TimedPicture]:
        """Sound and pictures in storage order."""
        resampler = _Resampler(MediaStream(self.audio, self.clock)) if self.audio else None
        video = MediaStream(self.video, self.clock) if self.video else None
        streams = [stream for stream in (self.audio, self.video) if stream is not None]
        try:
            for packet in demux(self.container, streams):
                if resampler and packet.stream.index == resampler.stream.index:
                    yield from resampler.take(packet)
                elif video:
                    yield from self._shots(video, packet)
        except DECODING_ERRORS as error:
            print(f"merc: {self.name}: ends early: {error_message(error)}", file=sys.stderr)
        yield from resampler.finish() if resampler else ()

    def _shots(self, stream: MediaStream, packet: Any) -> Iterator[TimedPicture]:
        for frame in cast("list[av.VideoFrame]", stream.decode(packet)):
            if frame.pts is not None:
                seconds = float(frame.pts * cast("Fraction", frame.time_base))
                yield TimedPicture(seconds, frame, self.clock.origin)


class _Resampler:
    """Resamples sound so that sample 0 is the recording's beginning, and drops the codec's padding at the end."""

    def __init__(self, stream: MediaStream) -> None:
        self.stream, self.count, self.has_started = stream, 0, False
        self.num_to_skip = 0  # samples before the recording's beginning
        duration = stream.clock.duration
        self.max_count = math.inf if duration is None else round(duration * SAMPLE_RATE)

    def take(self, packet: Any) -> Iterator[AudioChunk]:
        for frame in cast("list[av.AudioFrame]", self.stream.decode(packet)):
            if not self.has_started:
                self.has_started = True
                delay = round((self.stream.clock.seconds(frame.pts, frame) or 0.0) * SAMPLE_RATE)
                self.num_to_skip = max(-delay, 0)
                yield from self._trim(np.zeros(max(delay, 0), np.int16))
            for samples in self.stream.resample(frame):
                yield from self._trim(samples)

    def finish(self) -> Iterator[AudioChunk]:
        for samples in self.stream.resample(None) if self.has_started else ():
            yield from self._trim(samples)

    def _trim(self, samples: np.ndarray) -> Iterator[AudioChunk]:
        num_skipped = min(self.num_to_skip, len(samples))
        self.num_to_skip -= num_skipped
        end = max(self.max_count - self.count, 0) if self.max_count < math.inf else None
        samples = samples[num_skipped:][:end]
        if len(samples):
            self.count += len(samples)
            yield AudioChunk(samples, self.count / SAMPLE_RATE)


class RawSamplesSource:
    """Raw 16 kHz mono PCM16, little-endian, from a pipe."""

    audio, video, spacing, name = True, None, DEFAULT_SPACING, STANDARD_INPUT

    def __init__(self, stream: "_PeekedPipe") -> None:
        self.stream = stream

    def flow(self) -> Iterator[AudioChunk]:
        """The samples as they arrive."""
        count, remainder = 0, b""
        while chunk := self.stream.read(2 * CHUNK_SAMPLES):
            chunk = remainder + chunk
            remainder = chunk[len(chunk) // 2 * 2 :]
            samples = np.frombuffer(chunk[: len(chunk) // 2 * 2], "<i2").astype(np.int16)
            count += len(samples)
            yield AudioChunk(samples, count / SAMPLE_RATE)


def open_container(
    path: Any, name: str, format: str | None = None, options: dict[str, str] | None = None
) -> ContainerSource:
    """Open a recording, an object with `read`, or a device of FFmpeg's `format`; `name` is for messages."""
    path = path if hasattr(path, "read") else str(path)
    allowed = ONE_FILE if format is None else {"format_whitelist": format, "protocol_whitelist": "file,pipe"}
    try:
        container = av.open(path, format=format, options=allowed | (options or {}), metadata_errors="replace")
        return ContainerSource(cast("InputContainer", container), name)
    except DECODING_ERRORS as error:
        raise UserError(f"{name}: cannot be opened: {error_message(error)}") from None


def open_standard_input(stream: BinaryIO) -> ContainerSource | RawSamplesSource:
    """Open a pipe: a container if its first bytes are a known signature, else raw samples."""
    head = stream.read(2 * TS_PACKET_BYTES + 1)
    if not head:
        raise UserError("standard input is empty; pipe a recording or 16 kHz mono PCM16 into it")
    pipe = _PeekedPipe(head, stream)
    return open_container(pipe, STANDARD_INPUT) if _is_container(head) else RawSamplesSource(pipe)


def at_playback_speed(flow: Iterator[AudioChunk | TimedPicture]) -> Iterator[AudioChunk | TimedPicture]:
    """Delay a recording's items to the speed at which it plays."""
    start = time.monotonic()
    for item in flow:
        time.sleep(max(start + item.end - time.monotonic(), 0.0))
        yield item


def _is_container(head: bytes) -> bool:
    is_transport_stream = [head[offset] for offset in range(0, len(head), TS_PACKET_BYTES)] == [TS_SYNC_BYTE] * 3
    return is_transport_stream or any(head[offset:].startswith(magic) for offset, magic in CONTAINER_SIGNATURES)


class _PeekedPipe:
    """A pipe whose first bytes have already been read; `read` returns them first."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self.head, self.stream = head, stream

    def read(self, size: int) -> bytes:
        if self.head:
            chunk, self.head = self.head[:size], self.head[size:]
            return chunk
        read = getattr(self.stream, "read1", self.stream.read)  # read1 returns what is available, without waiting
        return read(size)

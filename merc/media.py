"""Video and audio files: one open of a clip yields its sound and its pictures, on one clock."""

import io
import itertools
import math
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from merc.decoding import BROKEN, Clock, Limits, Stream, Window, in_words
from merc.pictures import MiddlePicture, Pictures, TickPictures
from merc.sound import SAMPLE_RATE, Sound, SoundReader

PREROLL = 0.5  # seconds that are decoded before a window: codecs need some to settle


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
            audio = voice(container)
            if audio is None:
                return Sound(reason=_none_of(container.streams.audio, "audio"))
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
        yield from (Pictures(reason=_none_of(container.streams.video, "video")) for _ in spans)
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


def _read_open(container: av.container.InputContainer, clock: Clock, ticks: bool) -> tuple[Sound, Pictures]:
    audio, video = voice(container), film(container)
    sound = SoundReader(Stream(audio, clock)) if audio else None
    pictures = (TickPictures if ticks else MiddlePicture)(Stream(video, clock)) if video else None
    broken = _demux(container, [reader for reader in (sound, pictures) if reader is not None])
    return (
        sound.finish(broken) if sound else Sound(reason=_none_of(container.streams.audio, "audio")),
        pictures.finish(broken) if pictures else Pictures(reason=_none_of(container.streams.video, "video")),
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


def voice(container: av.container.InputContainer) -> av.AudioStream | None:
    """The first audio stream of a known codec."""
    return next((stream for stream in container.streams.audio if stream.codec_context), None)


def film(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video stream of a known codec that is not the picture of an album."""
    cover = av.stream.Disposition.attached_pic
    shown = (stream for stream in container.streams.video if not stream.disposition & cover)
    return next((stream for stream in shown if stream.codec_context), None)


def _none_of(streams: Sequence[av.AudioStream] | Sequence[av.VideoStream], kind: str) -> str:
    """Why a container has nothing of a kind."""
    unknown = any(stream.codec_context is None for stream in streams)
    return f"no {kind} stream of a known codec" if unknown else f"no {kind} stream"

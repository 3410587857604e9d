"""Reads video and audio files: the sound and the pictures of a clip, on a common clock, in one pass.

A recording of which many rows are windows is opened for each of them, and of it the window alone is decoded.
Opening and seeking cost 3 ms in a recording of 15 minutes, decoding a window of 3 s 19 ms. A decoder left open
goes on from its state (as the noise of AAC does), so that a row would depend on the rows before it.
"""

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.data.records.listing import Window
from merc.media.decoding import DECODING_ERRORS, ClipClock, Limits, MediaStream, demux, error_message, open_media
from merc.media.images import MiddlePictureReader, Pictures, TickPictureReader
from merc.media.sound import ClipSound, SoundReader

PREROLL_SECONDS = 0.5  # seconds decoded before a window, because codecs need some to settle


def read_clip(path: Path, limits: Limits, ticks: bool, window: Window | None = None) -> tuple[ClipSound, Pictures]:
    """Sound and pictures of a clip, or of a window of it; an unreadable one has a reason instead of data."""
    try:
        if path.stat().st_size == 0:
            return ClipSound(reason="the file is empty"), Pictures(reason="the file is empty")
        with open_media(path) as container:
            if window is not None and window.start > PREROLL_SECONDS:
                container.seek(round((window.start - PREROLL_SECONDS) * av.time_base) + (container.start_time or 0))
            clock = ClipClock(container, limits, window)
            if window is not None and clock.duration == 0:
                reason = f"the recording ends before {window.start:.2f} s, where the utterance begins"
                return ClipSound(reason=reason), Pictures(reason=reason)
            return _read_open(container, clock, ticks)
    except DECODING_ERRORS as error:
        reason = f"cannot be opened: {error_message(error)}"
        return ClipSound(reason=reason), Pictures(reason=reason)


def read_if_short(
    path: Path, limits: Limits, ticks: bool, short: float, longest: float
) -> tuple[float | None, tuple[ClipSound, Pictures] | None]:
    """A clip's length as `clip_duration` tells it, and what `read_clip` reads unless it is longer than `short`.

    Opened once: opening is a tenth of what a clip of 2 s takes to be opened and decoded.
    """
    with suppress(*DECODING_ERRORS), open_media(path) as container:
        if container.duration:
            length = container.duration / av.time_base
            if length > short:
                return length, None
            return length, _read_open(container, ClipClock(container, limits, None), ticks)
    length = clip_duration(path, longest)
    return length, None if (length or 0.0) > short else read_clip(path, limits, ticks)


def why_unreadable(path: Path) -> str:
    """Why a clip cannot be opened, by its header alone; empty if it can."""
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        with open_media(path):
            return ""
    except DECODING_ERRORS as error:
        return f"cannot be opened: {error_message(error)}"


def read_sound(path: Path, limits: Limits) -> ClipSound:
    """Only the sound of a recording, which may be hours long."""
    try:
        with open_media(path) as container:
            audio = first_audio_stream(container)
            if audio is None:
                return ClipSound(reason=_none_of(container.streams.audio, "audio"))
            reader = SoundReader(MediaStream(audio, ClipClock(container, limits, None)))
            return reader.finish(_demux(container, [reader]))
    except DECODING_ERRORS as error:
        return ClipSound(reason=f"cannot be opened: {error_message(error)}")


def read_pictures(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[Pictures]:
    """The pictures of each span (start and end in seconds, in order) of a recording; decodes each frame once."""
    num_spans = 0
    try:
        with open_media(path) as container:
            for pictures in _span_pictures(container, spans):
                yield pictures
                num_spans += 1
    except DECODING_ERRORS as error:
        yield from (Pictures(reason=f"cannot be read: {error_message(error)}") for _ in spans[num_spans:])


def _span_pictures(container: InputContainer, spans: Sequence[tuple[float, float]]) -> Iterator[Pictures]:
    video = first_video_stream(container)
    if video is None:
        yield from (Pictures(reason=_none_of(container.streams.video, "video")) for _ in spans)
        return
    stream = MediaStream(video, ClipClock(container, Limits(0.0, math.inf), None))
    all_packets = demux(container, [video], max((end for _, end in spans), default=0.0))
    packets = (packet for packet in all_packets if packet.stream_index == video.index)
    frames = (frame for packet in packets for frame in stream.decode(packet))
    last_frames: list[av.VideoFrame] = []  # of a span, may also be the first of the next
    for begin, end in spans:
        clock = ClipClock(container, Limits(0.0, end - begin), Window(begin, end))
        reader = TickPictureReader(MediaStream(video, clock))
        for frame in itertools.chain(last_frames, frames):
            reader.see(frame)
            last_frames = [*last_frames[-1:], frame]
            if reader.full:
                break
        yield reader.outcome(stream.trouble)


def clip_duration(path: Path, longest: float = 0.0) -> float | None:
    """A clip's duration in its header, or None if unknown or unreadable.

    A header without one, as of a recording that was stopped by force: by the time stamps of the packets, which are
    read until they pass `longest` seconds.
    """
    try:
        with open_media(path) as container:
            if container.duration:
                return container.duration / av.time_base
            return _duration_by_packets(container, longest) if longest else None
    except DECODING_ERRORS:
        return None


def _duration_by_packets(container: InputContainer, longest: float) -> float | None:
    streams = [first_audio_stream(container), first_video_stream(container)]
    ends = {stream.index: 0.0 for stream in streams if stream}
    clock = ClipClock(container, Limits(0.0, longest), None)
    for packet in demux(container, [stream for stream in streams if stream], longest):
        if packet.stream_index not in ends or not packet.size:
            continue
        begin = clock.seconds(packet.pts, packet)
        length = float((packet.duration or 0) * (packet.time_base or 0))
        end = (ends[packet.stream_index] if begin is None else begin) + length
        ends[packet.stream_index] = max(end, ends[packet.stream_index])
        if end > longest:
            break
    return max(ends.values(), default=0.0) or None


def wav_bytes(samples: np.ndarray) -> bytes:
    """The content of a .wav file: 16 kHz mono PCM16."""
    import soundfile

    content = io.BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return content.getvalue()


def _read_open(container: InputContainer, clock: ClipClock, ticks: bool) -> tuple[ClipSound, Pictures]:
    audio, video = first_audio_stream(container), first_video_stream(container)
    sound = SoundReader(MediaStream(audio, clock)) if audio else None
    pictures = (TickPictureReader if ticks else MiddlePictureReader)(MediaStream(video, clock)) if video else None
    error = _demux(container, [reader for reader in (sound, pictures) if reader is not None])
    return (
        sound.finish(error) if sound else ClipSound(reason=_none_of(container.streams.audio, "audio")),
        pictures.finish(error) if pictures else Pictures(reason=_none_of(container.streams.video, "video")),
    )


def _demux(container: InputContainer, readers: list[SoundReader | MiddlePictureReader | TickPictureReader]) -> str:
    """Pass every packet to its reader until all are full; returns the error message, if any."""
    by_index = {reader.stream.index: reader for reader in readers}
    try:
        sources = [reader.stream.source for reader in readers]
        for packet in demux(container, sources, max((reader.clock.reach for reader in readers), default=0.0)):
            if packet.stream_index in by_index:  # at the end, empty packets of all streams are returned
                by_index[packet.stream_index].take(packet)
            if all(reader.full for reader in readers):
                break
    except DECODING_ERRORS as error:
        return error_message(error)
    return ""


def first_audio_stream(container: InputContainer) -> av.AudioStream | None:
    """The first audio stream of a known codec."""
    return next((stream for stream in container.streams.audio if stream.codec_context), None)


def first_video_stream(container: InputContainer) -> av.VideoStream | None:
    """The first video stream of a known codec that is not a cover picture."""
    cover = Disposition.attached_pic
    streams = (stream for stream in container.streams.video if not stream.disposition & cover)
    return next((stream for stream in streams if stream.codec_context), None)


def _none_of(streams: Sequence[av.AudioStream] | Sequence[av.VideoStream], kind: str) -> str:
    """The reason why a container has no usable stream of a kind."""
    is_unknown = any(stream.codec_context is None for stream in streams)
    return f"no {kind} stream of a known codec" if is_unknown else f"no {kind} stream"

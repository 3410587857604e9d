"""Small clips for tests: a flash and a click at one moment, so that sound and picture can be compared."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def click(seconds: float, rate: int, at: float) -> np.ndarray:
    sound = np.zeros(round(seconds * rate), np.float32)
    sound[round(at * rate) : round((at + 0.02) * rate)] = 0.8
    return sound


def flashes(times: list[float], at: float, width: int = 160, height: int = 96) -> list[np.ndarray]:
    """Black pictures that are white from a moment on."""
    return [np.full((height, width, 3), 255 if time >= at - 1e-6 else 0, np.uint8) for time in times]


def write(
    path: Path,
    *,
    pictures: list[np.ndarray] | None = None,
    times: list[float] | None = None,
    fps: Fraction | int = 25,
    sound: np.ndarray | None = None,
    rate: int = 22050,
    layout: str = "mono",
    sound_begins: float = 0.0,
    pixels: str = "yuv420p",
) -> Path:
    """Write H.264 and AAC; `times` are those of the pictures (evenly at `fps` if not given)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        video = _video_stream(container, pictures, fps, pixels) if pictures is not None else None
        audio = container.add_stream("aac", rate=rate, layout=layout) if sound is not None else None
        if video is not None:
            _write_pictures(container, video, pictures, times)
        if audio is not None:
            write_sound(container, audio, sound, rate, layout, sound_begins)
    return path


def _video_stream(container, pictures, fps, pixels):
    stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "threads": "1", "g": "10"})
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = pixels
    stream.codec_context.time_base = Fraction(1, 90000)
    return stream


def _write_pictures(container, stream, pictures, times) -> None:
    fps = float(stream.average_rate)
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.time_base = Fraction(1, 90000)
        frame.pts = round((times[index] if times else index / fps) * 90000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sound(container, stream, sound, rate, layout, begins) -> None:
    channels = av.AudioLayout(layout).nb_channels
    for first in range(0, len(sound), 1024):
        part = np.repeat(sound[None, first : first + 1024], channels, axis=0)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.rate, frame.time_base, frame.pts = rate, Fraction(1, rate), first + round(begins * rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def late_sound(path: Path, seconds: float, begins: float) -> Path:
    """Write an FLV of noisy pictures, above 1.5 MB a second, whose sound begins late: FFmpeg probes 5 MB of it."""
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    with av.open(str(path), "w", format="flv") as container:
        video = container.add_stream("flv", rate=25, options={"g": "1", "b": "14000000", "qmax": "2"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("libmp3lame", rate=22050, layout="mono")  # AAC would tell of itself at once
        for index in range(round(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, index, axis=0), format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 25), index
            container.mux(video.encode(frame))
            if index == round(begins * 25):
                write_sound(container, audio, tone(seconds - begins, 22050), 22050, "mono", begins)
        container.mux(video.encode(None))
    return path


def same_packets(file, stamps: list[int], streams: int = 1) -> None:
    """Write a Matroska whose header has no duration: a packet of silent Opus at each stamp (milliseconds)."""
    with av.open(Unseekable(file), "w", format="matroska") as container:
        audio = [container.add_stream("libopus", rate=48000, layout="mono") for _ in range(streams)]
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
        frame.rate, frame.time_base = 48000, Fraction(1, 48000)
        (packet, *_) = [*audio[0].encode(frame), *audio[0].encode(None)]
        content = bytes(packet)
        for stamp in stamps:
            packet = av.Packet(content)
            packet.stream, packet.time_base = audio[0], Fraction(1, 1000)
            packet.pts = packet.dts = stamp
            packet.duration = 20
            container.mux(packet)


class Unseekable:
    """A file that is written like a pipe, so that what is known at the end alone is not in its header."""

    def __init__(self, file) -> None:
        self.write = file.write

"""Encode pictures and sound as an .mp4, with reproducible bytes."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.container import OutputContainer

from merc.corpora.synthesis.picture.scene import HEIGHT, WIDTH
from merc.corpora.synthesis.voice.espeak import ESPEAK_RATE
from merc.corpora.synthesis.voice.voice import FRAME_RATE

AUDIO_BITS, QUALITY = 64_000, "23"
# x264's bytes depend on the number of threads and, by default, on the processor
AAC = {"aac_coder": "fast"}
X264 = {"preset": "veryfast", "crf": QUALITY, "x264-params": "cpu-independent=1:threads=1:lookahead_threads=1"}


def write_mp4(path: Path, pictures: Iterable[np.ndarray], sound: np.ndarray) -> None:
    """Write H.264 video at 25 frames per second and AAC audio, both starting at time 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video, audio = _video(container), _audio(container)
        for number, picture in enumerate(pictures):
            container.mux(video.encode(_frame(picture, number)))
        container.mux(video.encode(None))
        container.mux(audio.encode(_samples(sound)))
        container.mux(audio.encode(None))


def _video(container: OutputContainer) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=FRAME_RATE, options=X264)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.time_base = Fraction(1, FRAME_RATE)
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _audio(container: OutputContainer) -> av.AudioStream:
    stream = container.add_stream("aac", rate=ESPEAK_RATE, layout="mono", options=AAC)
    stream.bit_rate = AUDIO_BITS
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _frame(picture: np.ndarray, number: int) -> av.VideoFrame:
    planes = cast("npt.NDArray[np.uint8]", cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420))
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
    return frame


def _samples(sound: np.ndarray) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = ESPEAK_RATE, 0, Fraction(1, ESPEAK_RATE)
    return frame

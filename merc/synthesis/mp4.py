"""Pictures and sound into an .mp4, with the same bytes every time."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from merc.synthesis.espeak import RATE
from merc.synthesis.room import HEIGHT, WIDTH
from merc.synthesis.voice import FRAMES

AUDIO_BITS, QUALITY = 64_000, "23"
# bytes of x264 depend on its threads and, unless told otherwise, on the processor
AAC = {"aac_coder": "fast"}
X264 = {"preset": "veryfast", "crf": QUALITY, "x264-params": "cpu-independent=1:threads=1:lookahead_threads=1"}


def write(path: Path, pictures: Iterable[np.ndarray], sound: np.ndarray) -> None:
    """H.264 at 25 pictures a second and AAC, both from time 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video, audio = _video(container), _audio(container)
        for number, picture in enumerate(pictures):
            container.mux(video.encode(_frame(picture, number)))
        container.mux(video.encode(None))
        container.mux(audio.encode(_samples(sound)))
        container.mux(audio.encode(None))


def _video(container):
    stream = container.add_stream("libx264", rate=FRAMES, options=X264)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.time_base = Fraction(1, FRAMES)
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    return stream


def _audio(container):
    stream = container.add_stream("aac", rate=RATE, layout="mono", options=AAC)
    stream.bit_rate = AUDIO_BITS
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    return stream


def _frame(picture: np.ndarray, number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, FRAMES)
    return frame


def _samples(sound: np.ndarray) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    return frame

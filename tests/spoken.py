"""Three drawn clips one after another, as sound and pictures and as a film without loss."""

from fractions import Fraction

import av
import numpy as np
from exported import write_dialogue

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.media import clip_reader

PAUSE = 0.8  # seconds between clips


def conversation(folder, pause=PAUSE):
    """(samples, pictures at 25 a second) with `pause` seconds of silence after each clip."""
    write_dialogue(folder)
    samples, pictures = [], []
    for number in range(3):
        sound, seen = clip_reader.read_clip(
            folder / f"dia0_utt{number}.mp4", clip_reader.Limits(0.1, 60.0), ticks=True
        )
        ticks = [*seen.ticks, *[seen.ticks[-1]] * round(pause * 25)]
        length = len(ticks) * SAMPLE_RATE // 25
        samples.append(np.pad(sound.samples, (0, length))[:length])
        pictures += ticks
    return np.concatenate(samples), pictures


def write(path, samples, pictures):
    """Without loss, so that a prefix of it is a prefix."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            part = samples[index * 640 : (index + 1) * 640]
            if len(part):
                sound = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
                sound.rate, sound.pts, sound.time_base = SAMPLE_RATE, index * 640, Fraction(1, SAMPLE_RATE)
                container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path

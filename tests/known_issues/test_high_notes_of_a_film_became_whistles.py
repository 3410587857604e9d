"""A tone of 12 kHz in a film came out at 4 kHz: moviepy takes the nearest samples when it changes the rate."""

import drawn
import numpy as np
from test_media import LIMITS

from merc.media import clip_reader


def test_what_16_khz_cannot_hold_is_filtered_not_folded(tmp_path):
    path = drawn.write(tmp_path / "a.mp4", sound=drawn.tone(1.0, 48000, 12000.0), rate=48000)
    sound, _ = clip_reader.read_clip(path, LIMITS, ticks=False)
    assert np.abs(sound.samples[1600:-1600]).max() < 100  # of 32,768; nearest samples would put it at 4 kHz

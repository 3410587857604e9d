"""Where somebody speaks: silencing, trimming, detectors."""

import extracted
import numpy as np
import pytest

from merc import media, sound, speech


def test_silence_falls_where_nobody_speaks_and_nothing_is_lost_where_nobody_does():
    samples = np.full(1600, 7, np.int16)
    half = speech.listen(sound.Sound(samples), lambda heard: np.arange(len(heard)) < 800, False, 0.01)
    assert list(np.unique(half.samples[:800])) == [7] and not half.samples[800:].any() and half.flags == []
    raw = speech.listen(sound.Sound(samples), lambda heard: np.zeros(len(heard), bool), False, 0.01)
    assert (raw.samples == samples).all() and raw.flags == ["no_speech"]


@pytest.mark.parametrize("detector", ["webrtc", "silero"])
def test_speech_detectors_tell_a_voice_from_silence(detector):
    pytest.importorskip(speech.PACKAGES[detector][0])
    if not extracted.GRID.is_dir():
        pytest.skip("no ../shared/data")
    voice = media.read(extracted.GRID / "bbaf2n.mpg", media.Limits(0.2, 15.0), ticks=False)[0].samples
    heard = speech.DETECTORS[detector](voice)
    assert len(heard) == len(voice) and 0.3 < heard.mean() < 1
    assert not speech.DETECTORS[detector](np.zeros(8000, np.int16)).any()

"""Whisper writes words down where nobody speaks."""

import numpy as np

from merc.media import speech_recognition


def test_silence_gets_no_words():
    def asr(samples):
        raise AssertionError("was asked")

    assert speech_recognition.words_in(np.zeros(16000, np.int16), asr) == ""

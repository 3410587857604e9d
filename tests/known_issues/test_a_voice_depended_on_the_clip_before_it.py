"""espeak keeps a state from one sentence to the next: a clip's bytes depended on which one was drawn before."""

import time

import numpy as np

from merc.corpora.synthesis.voice.espeak import speak


def test_espeak_does_not_remember_what_it_said():
    settings = {"rate": 200, "pitch": 50, "span": 60}
    first = speak("The parcel is on the table.", "en+f3", **settings)
    speak("Something else.", "en+m1", **settings)
    time.sleep(1.1)  # it sows its breath with the time of day, in seconds
    assert np.array_equal(first, speak("The parcel is on the table.", "en+f3", **settings))

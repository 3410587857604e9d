"""Utterances are found in sound: the same however it arrives, and in a prefix as in the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.serve.predictor import segmentation

BURSTS = ((0.8, 2.0), (3.0, 3.1), (4.0, 5.5), (5.8, 7.0), (8.5, 10.0))  # the second is too short to be speech


def babble(seconds=12.0, bursts=BURSTS, seed=0):
    """What WebRTC's detector takes for speech: a harmonic sound that swells at the rate of syllables."""
    generator, time = np.random.default_rng(seed), np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 140 * n * time) / n for n in range(1, 20))
    voice *= 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)
    loud = sum(((time >= begin) & (time < end)) for begin, end in bursts)
    return (4000 * voice * loud + generator.normal(0, 8, len(time))).astype(np.int16)


SOUND = babble()


def test_speech_is_cut_at_pauses_and_clicks_are_left_out():
    spans = np.array([span.seconds for span in segmentation.segment(SOUND)])
    expected = np.array([(0.8, 2.0), (4.0, 7.0), (8.5, 10.0)])  # 0.3 s are no pause
    assert spans.shape == expected.shape
    assert np.abs(spans - expected).max() < 0.4


def test_utterances_do_not_overlap_and_lie_in_the_sound():
    edges = np.array([(span.begin, span.end) for span in segmentation.segment(babble(60, ((1, 50),)))])
    assert len(edges) == 4  # 49 s without a pause
    assert (np.diff(edges.ravel()) >= 0).all()
    assert edges[0, 0] >= 0
    assert edges[-1, 1] <= 60 * SAMPLE_RATE


@given(st.lists(st.integers(1, 40_000), max_size=30))
def test_the_way_a_sound_is_handed_over_changes_nothing(sizes):
    cutter, found, place = segmentation.UtteranceSegmenter(), [], 0
    for size in sizes:
        found += cutter.feed(SOUND[place : place + size])
        place += size
    found += [*cutter.feed(SOUND[place:]), *cutter.finish()]
    assert found == segmentation.segment(SOUND)


@pytest.mark.parametrize("number", range(3))
def test_a_sound_that_ends_with_an_utterance_has_the_same_utterances(number):
    whole = segmentation.segment(SOUND)
    prefix = segmentation.segment(SOUND[: whole[number].end])
    assert [(span.begin, span.end) for span in prefix] == [(span.begin, span.end) for span in whole[: number + 1]]


def test_nothing_that_an_utterance_needs_is_let_go():
    cutter, seen = segmentation.UtteranceSegmenter(), []
    for place in range(0, len(SOUND), 1000):
        kept = cutter.begin
        found = cutter.feed(SOUND[place : place + 1000])
        assert all(kept <= span.begin for span in found)
        seen += found
    assert len(seen) == 3


def test_silence_and_nothing_have_no_utterance():
    assert segmentation.segment(np.zeros(5 * SAMPLE_RATE, np.int16)) == []
    assert segmentation.segment(np.zeros(0, np.int16)) == []

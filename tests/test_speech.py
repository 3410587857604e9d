"""Where somebody speaks: silencing, trimming, detectors."""

import extracted
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merc.data.records import face_tracks
from merc.encoders.lipsync import clip_inputs
from merc.media import clip_reader, sound, voice_activity


def test_silence_falls_where_nobody_speaks_and_nothing_is_lost_where_nobody_does():
    samples = np.full(1600, 7, np.int16)
    half = voice_activity.apply_detector(
        sound.ClipSound(samples), lambda heard: np.arange(len(heard)) < 800, False, 0.01
    )
    assert list(np.unique(half.samples[:800])) == [7] and not half.samples[800:].any() and half.flags == []
    raw = voice_activity.apply_detector(
        sound.ClipSound(samples), lambda heard: np.zeros(len(heard), bool), False, 0.01
    )
    assert (raw.samples == samples).all() and raw.flags == ["no_speech"]


@pytest.mark.parametrize("detector", ["webrtc", "silero"])
def test_speech_detectors_tell_a_voice_from_silence(detector):
    pytest.importorskip(voice_activity.PACKAGES[detector][0])
    if not extracted.GRID.is_dir():
        pytest.skip("no ../shared/data")
    voice = clip_reader.read_clip(extracted.GRID / "bbaf2n.mpg", clip_reader.Limits(0.2, 15.0), ticks=False)[
        0
    ].samples
    heard = voice_activity.DETECTORS[detector](voice)
    assert len(heard) == len(voice) and 0.3 < heard.mean() < 1
    assert not voice_activity.DETECTORS[detector](np.zeros(8000, np.int16)).any()


def _spoken(before: int, speech_ticks: int, after: int, rng: np.random.Generator) -> np.ndarray:
    """Ticks of silence, of a voice, of silence."""
    voice = rng.normal(0, 3000, speech_ticks * voice_activity.TICK_SAMPLES)
    parts = (np.zeros(before * voice_activity.TICK_SAMPLES), voice, np.zeros(after * voice_activity.TICK_SAMPLES))
    return np.clip(np.concatenate(parts), -32768, 32767).astype(np.int16)


@given(
    before=st.integers(0, 40),
    ticks=st.integers(1, 30),
    after=st.integers(0, 40),
    minimum=st.sampled_from([0.01, 0.2, 1.0]),
    way=st.sampled_from([None, lambda samples: samples != 0]),
)
def test_trimming_keeps_every_word_and_the_clock(before, ticks, after, minimum, way):
    samples = _spoken(before, ticks, after, np.random.default_rng(before))
    samples = np.pad(samples, (0, max(round(minimum * 16000) - len(samples), 0)))
    cut = voice_activity.apply_detector(sound.ClipSound(samples), way, True, minimum)
    first = round(cut.start * 16000)
    assert first % voice_activity.TICK_SAMPLES == 0 and len(cut.samples) >= round(minimum * 16000)
    assert (samples[first : first + len(cut.samples)] == cut.samples).all()
    assert not samples[:first].any() and not samples[first + len(cut.samples) :].any()
    assert (cut.flags == ["trimmed"]) == (len(cut.samples) < len(samples))
    edge = (
        voice_activity.SPEECH_MARGIN + 2
    ) * voice_activity.FRAME_SAMPLES + voice_activity.TICK_SAMPLES  # samples at most that are kept beside speech
    spare = len(cut.samples) - round(minimum * 16000)
    assert spare <= 0 or len(cut.samples) <= ticks * voice_activity.TICK_SAMPLES + 2 * edge


def test_a_silent_sound_is_not_trimmed_away():
    raw = voice_activity.apply_detector(sound.ClipSound(np.zeros(8000, np.int16)), None, True, 0.2)
    assert len(raw.samples) == 8000 and raw.flags == ["no_speech"] and "silent throughout" in raw.reason


def test_what_is_seen_before_a_trimmed_sound_is_left_out():
    crops = np.zeros((20, 64, 64, 3), np.uint8)
    early = face_tracks.Track(np.arange(0, 5, dtype=np.int32), np.ones((5, 4), np.float32), crops[:5])
    late = face_tracks.Track(np.arange(3, 23, dtype=np.int32), np.ones((20, 4), np.float32), crops)
    both = clip_inputs.align_clip([early, late], np.zeros(16000, np.float32), 0.4)
    assert len(both) == 13 and not both.seen[0].any() and both.seen[1].all()
    assert len(clip_inputs.align_clip([early], np.zeros(16000, np.float32), 0.4)) == 0

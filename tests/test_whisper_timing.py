"""Forced alignment by a Whisper: planted attention, a tiny model's order and bounds, GRID's known sentences."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tiny
from test_whisper import SEVERAL, SHARED, grid_sentence

from merc.encoders.pretrained import cross_attention, sources
from merc.media import clip_reader
from merc.media.alignment import word_times
from merc.media.sound import ClipSound
from merc.runtime.errors import UserError

WEIGHTS = Path(__file__).resolve().parent.parent / "data/weights"
HEADS = {"alignment_heads": [[0, 0], [1, 1]]}


@pytest.fixture(params=["one", "several"])
def model(here, request) -> str:
    """A tiny Whisper of one language, or of several."""
    generation = SEVERAL if request.param == "several" else {"no_timestamps_token_id": 150}
    tiny.whisper(here / "data/weights/align/tiny", std=0.4, generation={**generation, **HEADS})
    return "tiny"


def test_planted_attention_is_found_where_it_was_planted():
    firsts, num_frames = [0, 12, 20, 33], 50
    weights = np.full((2, 4, num_frames), 1e-3)
    for row, (first, end) in enumerate(itertools.pairwise([*firsts, num_frames])):
        weights[:, row, first:end] = 1.0
    assert cross_attention.token_frames(weights, 7).tolist() == firsts


def test_words_of_one_frame_are_kept_apart():
    assert cross_attention._apart(np.array([0, 3, 3, 3, 9]), 10).tolist() == [0, 3, 4, 5, 9]
    assert cross_attention._apart(np.array([8, 9, 9]), 10).tolist() == [8, 9, 10]


def test_words_have_times_in_order_within_the_sound_and_a_dash_has_none(model):
    samples = np.random.default_rng(0).normal(0, 3000, 32000).astype(np.int16)
    aligned = word_times.align_words("Oh no — it is", ClipSound(samples, start=0.4), model)
    assert aligned["reason"] == ""
    assert [word["word"] for word in aligned["words"]] == ["Oh", "no", "—", "it", "is"]
    assert aligned["words"].pop(2) == {"word": "—", "start": None, "end": None}
    times = [time for word in aligned["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times) and times[0] >= 0.4 and times[-1] <= 2.4
    assert all(word["start"] < word["end"] for word in aligned["words"])


@pytest.mark.parametrize(
    ("text", "seconds", "reason"),
    [
        ("", 1.0, ""),
        ("Fine.", None, "no sound to find the words in"),
        ("— …", 1.0, "no word has a letter or a digit"),
        ("Good", 0.08, "0.08 s of sound are too short for 4 word pieces"),
        ("Good", 31.0, "31.0 s of sound are longer than the 30 s that Whisper hears at once"),
        ("Good heavens, so many", 3.0, "18 word pieces are more than Whisper reads"),
    ],
)
def test_what_cannot_be_aligned_has_a_reason(model, text, seconds, reason):
    samples = None if seconds is None else np.zeros(round(16000 * seconds), np.int16)
    assert word_times.align_words(text, ClipSound(samples), model) == {"words": None, "reason": reason}


def test_a_whisper_that_names_no_heads_is_one_line(here):
    tiny.whisper(here / "data/weights/align/deaf")
    with pytest.raises(UserError, match=r"extract\.align = 'deaf': .*names no alignment_heads"):
        word_times.check_model("deaf")


@pytest.mark.real
@pytest.mark.parametrize("name", ["whisper-base", "whisper-tiny.en"])
def test_the_words_of_grid_are_found_where_they_are_said(name, monkeypatch):
    """The truth is not known; words last 40 to 700 ms each, and none but the last runs past the voice."""
    clips = sorted((SHARED / "clips").glob("*.mpg"))
    if not clips or not (WEIGHTS / name).is_dir():
        pytest.skip(f"no clips, or no {name}")
    monkeypatch.setattr(sources, "WEIGHTS_FOLDER", WEIGHTS)
    for path in clips:
        sound, _ = clip_reader.read_clip(path, clip_reader.Limits(0.2, 15.0), ticks=False)
        words = word_times.align_words(grid_sentence(path.stem), sound, name)["words"]
        assert [word["word"] for word in words] == grid_sentence(path.stem).split()
        assert 0.3 < words[0]["start"] < 1.1
        assert all(0.02 <= round(word["end"] - word["start"], 4) <= 0.7 for word in words[:-1])
        assert words[-1]["start"] < 2.1

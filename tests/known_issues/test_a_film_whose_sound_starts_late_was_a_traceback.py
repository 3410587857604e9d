"""A stream that appears after the start ended in an IndexError: PyAV reads past its list of streams."""

import drawn
import numpy as np
import pytest

from merc.media import clip_reader, decoding


@pytest.mark.parametrize("probe", ["deep", "as FFmpeg's"])
def test_a_stream_that_begins_late_is_read_or_absent_and_raises_nothing(tmp_path, monkeypatch, probe):
    path = drawn.late_sound(tmp_path / "a.flv", seconds=7.0, begins=5.0)
    assert path.stat().st_size > 1_400_000 * 5
    limits = clip_reader.Limits(0.2, 60.0)
    if probe != "deep":  # a stream that begins later still
        monkeypatch.setattr(decoding, "DEEP_PROBE", {})
    for _ in range(20):  # what PyAV reads beyond its buffer is left to chance
        sound, pictures = clip_reader.read_clip(path, limits, ticks=False)
        assert pictures.middle is not None
        assert sound.reason == ("" if probe == "deep" else "no audio stream")
    if probe == "deep":
        assert np.flatnonzero(np.abs(sound.samples) > 2000)[0] / 16000 == pytest.approx(5.0, abs=0.1)

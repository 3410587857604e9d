"""A clip's sound had 357 samples more than the clip: PyAV leaves the codec's padding at the end."""

import drawn
import pytest
from test_media import LIMITS, _even

from merc.media import clip_reader


def test_sound_ends_with_the_container_without_the_codecs_padding(tmp_path):
    path = drawn.write(tmp_path / "a.mp4", pictures=drawn.flashes(_even(1.0), 0.5), sound=drawn.tone(1.0, 22050))
    sound, _ = clip_reader.read_clip(path, LIMITS, ticks=False)
    assert len(sound.samples) == round(clip_reader.clip_duration(path) * clip_reader.SAMPLE_RATE)
    assert len(sound.samples) == pytest.approx(clip_reader.SAMPLE_RATE, abs=20)

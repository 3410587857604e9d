"""Files that a browser has recorded tell no length in their header; nothing of them was read, or no limit held."""

import drawn
import pytest

from merc.media import clip_reader


def test_a_duration_that_no_header_tells_comes_from_the_packets(tmp_path):
    path = tmp_path / "a.mkv"
    with path.open("wb") as file:
        drawn.same_packets(file, list(range(0, 36_000_000, 20 * 60)))  # ten hours
    assert clip_reader.clip_duration(path) is None
    assert clip_reader.clip_duration(path, longest=40_000.0) == pytest.approx(36_000, abs=2)
    assert 900 < clip_reader.clip_duration(path, longest=900.0) < 902

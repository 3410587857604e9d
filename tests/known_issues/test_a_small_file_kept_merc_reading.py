"""A file whose header promises little, or hours, was read beyond what is allowed."""

import drawn
import pytest

from merc.media import clip_reader, decoding


def test_no_more_is_read_than_the_header_and_the_limits_tell(tmp_path, monkeypatch):
    seen = []
    decode = decoding.MediaStream.decode
    monkeypatch.setattr(
        decoding.MediaStream, "decode", lambda stream, packet: seen.append(1) or decode(stream, packet)
    )
    path = drawn.write(tmp_path / "a.mp4", sound=drawn.tone(60.0, 16000), rate=16000)  # 937 packets
    sound = clip_reader.read_sound(path, clip_reader.Limits(0.0, 5.0))
    assert len(sound.samples) == 5 * 16000 and len(seen) < 110
    seen.clear()
    content = path.read_bytes()  # the header is made to tell three seconds
    for whole, short in ((60_000, 3_000), (60_064, 3_000), (960_000, 48_000), (961_024, 48_000)):
        content = content.replace(whole.to_bytes(4, "big"), short.to_bytes(4, "big"))
    path.write_bytes(content)
    assert clip_reader.clip_duration(path) == pytest.approx(3.0)
    sound = clip_reader.read_sound(path, clip_reader.Limits(0.0, 12 * 3600.0))
    assert len(sound.samples) == 3 * 16000 and len(seen) < 80

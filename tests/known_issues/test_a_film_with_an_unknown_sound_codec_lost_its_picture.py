"""A stream of an unknown codec was not taken for one that cannot be read, and the other stream was lost with it."""

import drawn
from test_media import LIMITS, _even

from merc.media import clip_reader


def test_an_unknown_codec_is_a_reason_and_the_other_stream_is_read(tmp_path):
    path = drawn.write(tmp_path / "a.mp4", pictures=drawn.flashes(_even(1.0), 0.5), sound=drawn.tone(1.0, 22050))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
    assert sound.reason == clip_reader.read_sound(path, LIMITS).reason == "no audio stream of a known codec"
    assert pictures.middle is not None
    path.write_bytes(content.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzz"))
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
    (shown,) = clip_reader.read_pictures(path, [(0.0, 0.5)])
    assert pictures.reason == shown.reason == "no video stream of a known codec"
    assert sound.samples is not None

"""merc.media.clip_reader: whatever a clip looks like, its sound and pictures come out right, or a reason does."""

import wave
from fractions import Fraction
from pathlib import Path

import av
import drawn
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merc.media import clip_reader, decoding, resampling
from merc.runtime.errors import UserError
from merc.serve.stream import live_sources

LIMITS = clip_reader.Limits(0.2, 4.0)
GRID = Path(__file__).parents[2] / "shared" / "data" / "clips"


def _even(seconds: float, fps: float = 25.0) -> list[float]:
    return [index / fps for index in range(round(seconds * fps))]


def _hertz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * clip_reader.SAMPLE_RATE / len(samples))


@pytest.mark.parametrize(
    ("rate", "layout"), [(8000, "mono"), (22050, "stereo"), (44100, "mono"), (48000, "5.1"), (96000, "stereo")]
)
def test_any_rate_and_layout_becomes_16_khz_mono(tmp_path, rate, layout):
    path = drawn.write(tmp_path / "a.mp4", sound=drawn.tone(1.0, rate), rate=rate, layout=layout)
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
    assert sound.flags == [] and sound.reason == ""
    assert len(sound.samples) == pytest.approx(clip_reader.SAMPLE_RATE, abs=300)
    assert _hertz(sound.samples) == pytest.approx(440, abs=5)
    assert pictures.middle is None and pictures.reason == "no video stream"


@pytest.mark.parametrize(
    ("rate", "layout", "form"),
    [(8000, "mono", "fltp"), (22050, "stereo", "s16"), (48000, "5.1", "fltp"), (16000, "mono", "s16")],
)
def test_sound_is_resampled_as_by_pyav_without_threads_of_its_own(rate, layout, form):
    def frames() -> list[av.AudioFrame]:
        blocks = np.random.default_rng(0).integers(-9000, 9000, (3, rate // 10, 6))[
            ..., : len(av.AudioLayout(layout).channels)
        ]
        if form == "fltp":
            made = [(block.T / 32768).astype(np.float32) for block in blocks]
        else:
            made = [block.astype(np.int16).reshape(1, -1) for block in blocks]
        found = [av.AudioFrame.from_ndarray(np.ascontiguousarray(one), form, layout) for one in made]
        for frame in found:
            frame.sample_rate = rate
        return found

    ours, pyavs = resampling.Resampler(), av.AudioResampler("s16", "mono", 16000)
    for mine, theirs in zip([*frames(), None], [*frames(), None], strict=True):
        both = [
            [part.to_ndarray().tobytes() for part in one] for one in (ours.resample(mine), pyavs.resample(theirs))
        ]
        assert both[0] == both[1]
    assert resampling._graph(frames()[0]).threads == 1
    with pytest.raises(ValueError, match="follows"):
        other = frames()[0]
        other.sample_rate = 11025
        ours.resample(other)


@pytest.mark.parametrize("begins", [0.0, 0.5])
@pytest.mark.parametrize("fps", [25, Fraction(24000, 1001), 30, 50])
def test_click_and_flash_stay_together(tmp_path, begins, fps):
    at, times = 1.0, _even(2.0, float(fps))
    path = drawn.write(
        tmp_path / "a.mp4",
        pictures=drawn.flashes(times, at),
        fps=fps,
        sound=drawn.click(1.9 - begins, 22050, at - begins),
        sound_begins=begins,
    )
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
    heard = np.abs(sound.samples.astype(int)).argmax() / clip_reader.SAMPLE_RATE
    seen = next(index for index, picture in enumerate(pictures.ticks) if picture.mean() > 128) / 25
    assert heard == pytest.approx(at, abs=0.03)
    assert seen == pytest.approx(at, abs=0.04)


def test_variable_frame_rate_is_put_on_even_ticks(tmp_path):
    times = [0.0, 0.1, 0.11, 0.5, 0.52, 0.9, 1.0]
    path = drawn.write(tmp_path / "a.mp4", pictures=drawn.flashes(times, 0.5), times=times)
    _, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
    white = [picture.mean() > 128 for picture in pictures.ticks]
    assert white.index(True) == 8  # 0.32 s is nearer to 0.5 than to 0.11
    assert white == sorted(white) and len(white) >= 25


def test_odd_sizes_and_large_pictures(tmp_path):
    odd = drawn.flashes(_even(0.4), 0.2, width=101, height=67)
    _, pictures = clip_reader.read_clip(
        drawn.write(tmp_path / "a.mp4", pictures=odd, pixels="yuv444p"), LIMITS, ticks=True
    )
    assert pictures.middle.shape == (67, 101, 3) and pictures.ticks[0].shape == (67, 101, 3)
    large = drawn.flashes(_even(0.2), 0.1, width=1280, height=720)
    _, pictures = clip_reader.read_clip(drawn.write(tmp_path / "b.mp4", pictures=large), LIMITS, ticks=True)
    assert pictures.middle.shape == (720, 1280, 3) and pictures.ticks[0].shape == (360, 640, 3)
    assert pictures.scale == 2.0


def test_the_quick_way_and_the_whole_way_find_one_middle(tmp_path):
    pictures = [np.full((96, 160, 3), 5 * index, np.uint8) for index in range(50)]
    path = drawn.write(tmp_path / "a.mp4", pictures=pictures, sound=drawn.tone(2.0, 22050))
    quick, whole = (clip_reader.read_clip(path, LIMITS, ticks=ticks)[1] for ticks in (False, True))
    assert (quick.middle == whole.middle).all()
    assert quick.middle.mean() == pytest.approx(125, abs=6)


def test_too_long_is_cut_and_too_short_is_padded(tmp_path):
    path = drawn.write(tmp_path / "a.mp4", pictures=drawn.flashes(_even(6.0), 3.0), sound=drawn.tone(6.0, 22050))
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
    assert len(sound.samples) == 4 * clip_reader.SAMPLE_RATE and len(pictures.ticks) == 100
    assert sound.flags == pictures.flags == ["truncated"]
    sound, _ = clip_reader.read_clip(
        drawn.write(tmp_path / "b.mp4", sound=drawn.tone(0.05, 22050)), LIMITS, ticks=True
    )
    assert len(sound.samples) == 3200 and sound.flags == ["padded"] and "padded with silence" in sound.reason


def test_no_sound_no_content_no_file_header(tmp_path):
    sound, _ = clip_reader.read_clip(
        drawn.write(tmp_path / "v.mp4", pictures=drawn.flashes(_even(0.4), 0.2)), LIMITS, True
    )
    assert sound.samples is None and sound.reason == "no audio stream"
    (tmp_path / "empty.mp4").touch()
    assert clip_reader.read_clip(tmp_path / "empty.mp4", LIMITS, True)[0].reason == "the file is empty"
    sound, pictures = clip_reader.read_clip(drawn.write(tmp_path / "none.mp4", pictures=None), LIMITS, True)
    assert sound.samples is None and pictures.middle is None and sound.reason and pictures.reason


def test_of_two_streams_the_one_of_a_known_codec_is_read(tmp_path):
    path, sound = tmp_path / "a.mp4", drawn.tone(1.0, 22050)
    with av.open(str(path), "w", format="mp4") as container:
        for stream in [container.add_stream("aac", rate=22050, layout="mono") for _ in range(2)]:
            drawn.write_sound(container, stream, sound, 22050, "mono", 0.0)
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"zzzz", 1).replace(b"esds", b"zzzz", 1))
    with av.open(str(path)) as container:
        assert [stream.codec_context is None for stream in container.streams.audio] == [True, False]
    assert len(clip_reader.read_sound(path, LIMITS).samples) == pytest.approx(clip_reader.SAMPLE_RATE, abs=300)


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile whole.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nwhole.ts\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 59998 RTP/AVP 0\n",
    "picture": "P6 4 4 255 " + 48 * "x",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a%02d.png"])
def test_a_file_that_names_others_is_refused_whatever_it_is_called(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    drawn.write(Path("whole.mp4"), pictures=drawn.flashes(_even(1.0), 0.5), sound=drawn.tone(1.0, 22050))
    _transport_stream(Path("whole.ts"))
    Path(name).write_text(PLAYLISTS[kind], encoding="ascii")
    sound, pictures = clip_reader.read_clip(Path(name), LIMITS, ticks=True)
    assert sound.samples is None and pictures.middle is None
    assert sound.reason == pictures.reason and sound.reason.startswith("cannot be opened: ")
    assert clip_reader.read_sound(Path(name), LIMITS).reason == sound.reason
    with pytest.raises(UserError, match="cannot be opened"):
        live_sources.open_container(Path(name), name)
    with Path(name).open("rb") as pipe, pytest.raises(UserError, match="cannot be opened"):
        live_sources.open_container(pipe, name)


def _transport_stream(path: Path) -> None:
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("aac", rate=22050, layout="mono")
        drawn.write_sound(container, stream, drawn.tone(1.0, 22050), 22050, "mono", 0.0)


@pytest.mark.parametrize("ticks", [False, True])
def test_pictures_above_the_limit_are_refused_and_large_ones_are_reduced(tmp_path, monkeypatch, ticks):
    path = drawn.write(
        tmp_path / "a.mp4",
        pictures=drawn.flashes(_even(0.4), 0.2, width=8000, height=5200)[:3],
        sound=drawn.tone(0.4, 22050),
    )
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks)
    assert sound.samples is not None and pictures.middle is None
    assert pictures.reason == "no picture can be decoded: 8000 x 5200 pixels are above 40 megapixels"
    monkeypatch.setattr(decoding, "MAX_SIDE", 80)
    path = drawn.write(tmp_path / "b.mp4", pictures=drawn.flashes(_even(1.0), 0.3))
    _, pictures = clip_reader.read_clip(path, LIMITS, ticks)
    assert pictures.middle.shape == (48, 80, 3) and pictures.middle.mean() > 250
    if ticks:
        assert len(pictures.ticks) == 25 and {kept().shape for kept in pictures.kept.values()} == {(48, 80, 3)}


@given(cut=st.floats(0, 1), ticks=st.booleans())
def test_a_file_cut_anywhere_gives_media_or_a_reason(tmp_path_factory, cut, ticks):
    path = tmp_path_factory.getbasetemp() / "whole.mp4"
    if not path.is_file():
        drawn.write(path, pictures=drawn.flashes(_even(1.0), 0.5), sound=drawn.tone(1.0, 22050))
    content = path.read_bytes()
    _is_sound_or_reason(path.with_name("cut.mp4"), content[: int(len(content) * cut)], ticks)


@given(start=st.floats(0, 1), noise=st.binary(min_size=1, max_size=300), ticks=st.booleans())
def test_noise_in_a_file_gives_media_or_a_reason(tmp_path_factory, start, noise, ticks):
    path = tmp_path_factory.getbasetemp() / "whole.mp4"
    if not path.is_file():
        drawn.write(path, pictures=drawn.flashes(_even(1.0), 0.5), sound=drawn.tone(1.0, 22050))
    content = bytearray(path.read_bytes())
    first = int(start * len(content))
    content[first : first + len(noise)] = noise
    _is_sound_or_reason(path.with_name("noise.mp4"), bytes(content), ticks)


@given(content=st.binary(max_size=2000))
def test_random_bytes_give_a_reason(tmp_path_factory, content):
    _is_sound_or_reason(tmp_path_factory.getbasetemp() / "random.mp4", content, True)


def _is_sound_or_reason(path: Path, content: bytes, ticks: bool) -> None:
    path.write_bytes(content)
    sound, pictures = clip_reader.read_clip(path, LIMITS, ticks)
    assert sound.samples is not None or sound.reason
    assert pictures.middle is not None or pictures.reason
    assert str(path) not in sound.reason + pictures.reason
    assert sound.samples is None or 3200 <= len(sound.samples) <= 64000
    assert len(pictures.ticks) <= 100


def test_wav_is_pcm16(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(clip_reader.wav_bytes(np.array([0, 1, -32768, 32767], np.int16)))
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.readframes(4) == np.array([0, 1, -32768, 32767], "<i2").tobytes()


@pytest.mark.real
@pytest.mark.skipif(not GRID.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("detector", ["haar", "yunet", "mtcnn"])
def test_grid_clips(detector):
    from merc.media.faces import detectors, tracking

    for path in sorted(GRID.glob("*.mpg")):
        sound, pictures = clip_reader.read_clip(path, LIMITS, ticks=True)
        assert len(sound.samples) / clip_reader.SAMPLE_RATE == pytest.approx(
            clip_reader.clip_duration(path), abs=0.01
        )
        assert pictures.middle.shape == (288, 360, 3) and not sound.flags and not pictures.flags
        tracks = tracking.track_faces(pictures, detectors.DETECTORS[detector], 64)
        assert [len(track.frames) for track in tracks] == [75]


def test_packets_without_end_and_too_many_streams_are_refused_with_the_reason(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(decoding.MediaStream, "decode", lambda stream, packet: seen.append(1) or [])
    path = tmp_path / "a.mkv"
    with path.open("wb") as file:
        drawn.same_packets(file, [0] * 24_000)
    sound = clip_reader.read_sound(path, clip_reader.Limits(0.0, 1.0))
    assert sound.reason == "no audio can be decoded: it has more than 22,000 packets in 1 s"
    assert len(seen) == 22_000
    with path.open("wb") as file:
        drawn.same_packets(file, [0], streams=70)
    assert clip_reader.read_sound(path, LIMITS).reason == "cannot be opened: it has 70 streams, more than 64"


@pytest.mark.parametrize("name", ["whole", "longer", "without a length", "broken", "empty"])
def test_opened_once_a_clip_is_what_it_is_opened_twice(tmp_path, name):
    path = tmp_path / "clip.mkv"
    if name in ("broken", "empty"):
        path.write_bytes(b"no film" * (name == "broken"))
    elif name == "without a length":  # as of a recording that was stopped by force
        with path.open("wb") as file:
            drawn.same_packets(file, [20 * number for number in range(50)])
    else:
        drawn.write(path, pictures=drawn.flashes(_even(1.0), 0.5), sound=drawn.tone(1.0, 22050))
    short = 0.1 if name == "longer" else 20.0
    length, media = clip_reader.read_if_short(path, LIMITS, True, short, 900.0)
    assert length == clip_reader.clip_duration(path, 900.0)
    if name == "longer":
        assert media is None
        return
    (sound, pictures), (other, others) = media, clip_reader.read_clip(path, LIMITS, True)
    assert (sound.reason, pictures.reason) == (other.reason, others.reason)
    assert np.array_equal(sound.samples, other.samples) and np.array_equal(pictures.ticks, others.ticks)

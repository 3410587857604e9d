"""python -m merc predict --stream: a recording at its own pace, a pipe, a microphone, and what is not there."""

import io
import json
import re
import time
from types import SimpleNamespace

import drawn
import numpy as np
import pytest
import spoken
from exported import write_model

from merc.__main__ import main
from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.media import clip_reader
from merc.runtime.errors import UserError
from merc.serve import Predictor
from merc.serve.predictor import segmentation
from merc.serve.stream import devices, live_sources, timed_pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """film.mkv and its sound, film.wav."""
    folder = tmp_path_factory.mktemp("film")
    samples, pictures = spoken.conversation(folder)
    spoken.write(folder / "film.mkv", samples, pictures)
    (folder / "film.wav").write_bytes(clip_reader.wav_bytes(samples))
    return folder


class Drawn(live_sources.ContainerSource):
    """A device that makes up what it hears or sees."""

    def __init__(self, flow, *, audio):
        self.flow, self.audio = flow, audio


def stream(model, *words):
    return main(["predict", "--model", model, "--stream", *map(str, words)])


def test_a_recording_is_answered_at_the_pace_at_which_it_plays(model, place, capsys):
    film, began = place / "film.mkv", time.monotonic()
    assert stream(model, film, "--json") == 0
    assert time.monotonic() - began >= clip_reader.clip_duration(film)
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    predictor = Predictor.load(model)
    whole = predictor.read(film, cut=True)
    for number, row in enumerate(rows, start=1):
        other = predictor.answer(whole.prefix(number))[-1]
        assert row["emotion"] == pytest.approx(other["emotion"], abs=1e-5)
        assert (row["start"], row["end"]) == (other["start"], other["end"])
        assert row["latency"] >= segmentation.DETECTION_SECONDS
    assert len(rows) == len(whole) == 3
    assert "merc: 3 utterances; from the end of an utterance to its answer" in shown.err


def test_a_pipe_is_answered_as_fast_as_it_comes(model, place, monkeypatch, capsys):
    content = (place / "film.wav").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert stream(model, "-") == 0
    waited = [float(seconds) for seconds in re.findall(r" after (\d+\.\d\d) s", capsys.readouterr().out)]
    assert len(waited) == 3
    assert min(waited) >= segmentation.DETECTION_SECONDS


def test_a_microphone_without_a_camera_is_enough(model, place, monkeypatch, capsys):
    """The device is opened by the name and format of a file: everything after that is the same."""
    given = {"microphone": ("wav", str(place / "film.wav"), {}), "camera": ("v4l2", "/dev/no", {})}
    monkeypatch.setattr(devices, "DEVICES", {"linux": given, "darwin": given})
    assert stream(model, "--json") == 0
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["missing"] for row in rows] == [["text", "vision"]] * 3
    assert "no camera: v4l2 /dev/no: cannot be opened" in shown.err


def test_no_microphone_is_one_line(model, monkeypatch, capfd):
    given = {kind: ("alsa", "nobody", {}) for kind in ("microphone", "camera")}
    monkeypatch.setattr(devices, "DEVICES", {"linux": given, "darwin": given})
    assert stream(model) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("merc: no microphone: alsa nobody: cannot be opened: ")
    assert "--stream a file or -" in line


def test_camera_and_microphone_run_beside_each_other_until_the_sound_ends():
    def heard():
        for number in range(1, 4):
            time.sleep(0.1)
            yield live_sources.AudioChunk(np.zeros(1600, np.int16), number / 10)

    def seen():
        while True:
            time.sleep(0.04)
            yield timed_pictures.timed_picture(
                np.zeros((4, 4, 3), np.uint8), 1e6
            )  # a camera has a clock of its own

    items = list(devices.merge_flows([Drawn(heard, audio=True), Drawn(seen, audio=False)]))
    times = [item.end for item in items if isinstance(item, timed_pictures.TimedPicture)]
    assert sum(isinstance(item, live_sources.AudioChunk) for item in items) == 3
    assert len(times) >= 3 and times == sorted(times) and times[-1] < 2


def test_what_needs_the_whole_recording_is_refused(model, place, tmp_path, capsys):
    mute = drawn.write(tmp_path / "mute.mp4", pictures=[np.zeros((48, 64, 3), np.uint8)] * 5)
    film = place / "film.mkv"
    for words, said in [
        ((film, "--srt", tmp_path / "a.srt"), "--srt: not with --stream"),
        ((film, "--cut"), "--cut: not with --stream"),
        ((film, film), "one recording at a time"),
        ((tmp_path,), "is a folder"),
        ((tmp_path / "no.mp4",), "no such file"),
        ((mute,), "mute.mp4: has no sound"),
    ]:
        assert stream(model, *words) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_silence_is_no_utterance(model, tmp_path, capsys):
    (tmp_path / "still.wav").write_bytes(clip_reader.wav_bytes(np.zeros(SAMPLE_RATE, np.int16)))
    assert stream(model, tmp_path / "still.wav") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no utterance was heard" in shown.err


def test_a_device_that_merc_does_not_know_is_named(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(UserError, match="Linux and macOS only"):
        devices.open_device("microphone")

"""python -m merc predict: what it prints and writes, what it refuses, what it loads and what it leaves behind."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import drawn
import numpy as np
import pytest
from closure import ROOT
from exported import LABELS, write_dialogue, write_model

from merc.__main__ import main
from merc.serve.commands import film, outputs
from merc.serve.predictor import transcripts
from merc.serve.predictor.dialogue import Dialogue, RecordedUtterance
from merc.serve.predictor.predictor import Predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Three clips, and subtitles beside the second."""
    place = tmp_path_factory.mktemp("clips")
    said = write_dialogue(place)
    (place / "dia0_utt1.srt").write_text(f"1\n00:00:00,100 --> 00:00:01,000\n{said[1]}\n", encoding="utf-8")
    return place


def predict(model: str, *words: object) -> int:
    return main(["predict", "--model", model, *map(str, words)])


def test_a_folder_is_a_table_of_one_line_per_clip(model, clips, capsys):
    assert predict(model, clips) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines] == ["utterance", "dia0_utt0", "dia0_utt1", "dia0_utt2"]
    assert (
        "no text: none was given (--text; python -m merc weights get whisper-base brings what writes it down) "
        "(2 of 3)" in shown.err
    )


def test_a_broken_clip_of_a_folder_is_named_before_the_model_is_loaded(clips, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes((clips / "dia0_utt0.mp4").read_bytes())
    (tmp_path / "b.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "c.mp4").write_bytes(b"")
    assert predict(str(tmp_path / "no_model"), tmp_path) == 2
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"merc: {tmp_path / 'b.mp4'}: cannot be opened: ") and "no_model" in last
    assert second == f"merc: {tmp_path / 'c.mp4'}: the file is empty"


def test_json_goes_to_stdout_and_progress_does_not(model, clips, capsys):
    assert predict(model, "--video", clips / "dia0_utt1.mp4", "--json") == 0
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    assert list(row["emotion"]) == list(LABELS["emotion"])
    assert row["text"] == (clips / "dia0_utt1.srt").read_text(encoding="utf-8").splitlines()[2]
    assert row["missing"] == []
    assert "reading" in shown.err


def test_tables_and_subtitles_tell_the_same(model, clips, tmp_path, capsys):
    files = {"--csv": tmp_path / "a.csv", "--srt": tmp_path / "a.srt"}
    assert predict(model, clips, "--json", *(word for pair in files.items() for word in pair)) == 0
    rows = json.loads(capsys.readouterr().out)
    with files["--csv"].open(encoding="utf-8", newline="") as opened:
        table = list(csv.DictReader(opened))
    assert [float(row["emotion_joy"]) for row in table] == [row["emotion"]["joy"] for row in rows]
    assert [row["prediction_set"].split() for row in table] == [row["prediction_set"] for row in rows]
    cues = transcripts.parse_subtitles(files["--srt"].read_text(encoding="utf-8"))
    assert [re.match(r"\[(\w+) \d+ %\]", cue.text)[1] for cue in cues] == [row["prediction_set"][0] for row in rows]
    lengths = np.cumsum([row["end"] for row in rows])
    assert [cue.end for cue in cues] == pytest.approx(lengths.tolist(), abs=2e-3)
    assert set(tmp_path.iterdir()) == set(files.values())


def test_the_film_is_as_long_as_the_clips_and_frames_the_face(model, clips, tmp_path, capsys):
    film = tmp_path / "film.mp4"
    assert predict(model, clips / "dia0_utt0.mp4", clips / "dia0_utt1.mp4", "--annotate", film) == 0
    seconds = sum(_seconds(clips / f"dia0_utt{number}.mp4") for number in range(2))
    with av.open(str(film)) as opened:
        assert len(opened.streams.audio) == 1
        pictures = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert _seconds(film) == pytest.approx(seconds, abs=0.2)
    assert pictures[0].shape[1] > 640  # beside the picture the bars
    assert list(tmp_path.iterdir()) == [film]


def test_the_film_of_sound_alone_is_dark_and_as_long(model, tmp_path):
    sound, film = drawn.write(tmp_path / "a.m4a", sound=drawn.tone(1.5, 22050)), tmp_path / "film.mp4"
    assert predict(model, sound, "--annotate", film) == 0
    with av.open(str(film)) as opened:
        assert len(opened.streams.audio) == 1
        picture = next(opened.decode(video=0)).to_ndarray(format="rgb24")
    assert picture[:300, :500].max() < 40  # beside it the bars, below it the words
    assert _seconds(film) == pytest.approx(1.5, abs=0.2)


def test_the_film_shows_labels_in_the_colours_of_their_space(model, tmp_path):
    predictor = Predictor.load(model)
    dialogue = predictor.read([drawn.write(tmp_path / "a.m4a", sound=drawn.tone(1.5, 22050))])
    rows = predictor.answer(dialogue)
    path = tmp_path / "film.mp4"
    film.write_annotated_video(path, rows, dialogue, dict.fromkeys(rows[0]["emotion"], "#cc0000"))
    with av.open(str(path)) as opened:
        picture = next(opened.decode(video=0)).to_ndarray(format="rgb24")
    red, green, _ = picture[-film.LINE_HEIGHT // 2, picture.shape[1] // 2].astype(int)  # of the timeline
    assert red > 150 > 60 > green


def _seconds(path: Path) -> float:
    with av.open(str(path)) as opened:
        return opened.duration / av.time_base


def test_outputs_that_would_destroy_are_refused(model, clips, tmp_path, capsys):
    there = tmp_path / "there.csv"
    there.write_text("mine")
    clip = clips / "dia0_utt0.mp4"
    for words, said in [
        (("--csv", there), "exists"),
        (("--annotate", clip), "is what is read"),
        (("--annotate", clip, "--overwrite"), "is what is read"),
        (("--srt", tmp_path / "no" / "a.srt"), "there is no folder"),
        (("--srt", tmp_path), "is a folder"),
        (("--srt", tmp_path / "x", "--csv", tmp_path / "x"), "a file of its own"),
        (("--frames", "0"), "at least 1"),
        (("--text", tmp_path / "no.srt"), "no such file"),
        (("--annotate", tmp_path / "film.avi"), "is an .mp4"),
    ]:
        assert predict(model, clip, *words) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert said in lines[-1]
    assert there.read_text() == "mine"
    assert predict(model, clip, "--csv", there, "--overwrite") == 0
    assert there.read_text() != "mine"
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no file to predict from"),
        (("nowhere.mp4",), "nowhere.mp4: no such file"),
        (("x" * 300 + ".mp4",), "x.mp4: File name too long; write a shorter name"),
        (("x", "--text", "y" * 300 + ".txt"), "x: no such file"),
        (("x", "--text", "y"), "x: no"),
        (("x", "--bogus"), "--bogus (python -m merc predict --help"),
        (("x", "--asr"), "--asr: expected one argument"),
        (("x", "--frames", "many"), "--frames: invalid int value: 'many'"),
    ],
)
def test_mistakes_are_one_line(model, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert predict(model, *words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err
    assert len(output.err.splitlines()) == 1


def test_no_model_is_a_mistake(clips, tmp_path, capsys):
    assert predict(str(tmp_path), clips) == 2
    assert "no exported model" in capsys.readouterr().err


def test_what_is_not_asked_for_is_not_loaded(model, clips):
    """tests/test_onnx.py looks for transformers and scipy."""
    heavy = (
        "shap",
        "gradio",
        "starlette",
        "dvc",
        "moviepy",
        "matplotlib",
        "sklearn",
        "onnxruntime",
        "pandas",
    )
    program = (
        "import sys; from merc.__main__ import main\n"
        f"code = main(['predict', '--no-asr', '--model', {model!r}, {str(clips / 'dia0_utt0.mp4')!r}])\n"
        f"print('loaded:', *sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(model, clips, tmp_path, tmp_path_factory, number, code):
    """Stopped while it writes the film, where it has the most lying about."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    many = [str(clips)] * 8  # so that the film is not finished at once
    words = ["predict", "--no-asr", "--model", model, *many, "--annotate", str(tmp_path / "film.mp4")]
    command = [sys.executable, "-u", "-m", "merc", *words]
    cache = str(tmp_path_factory.mktemp("torch"))  # torch makes one in TMPDIR when parts of it are imported
    environment = os.environ | {"TMPDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": cache}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while not (line := process.stderr.readline()).startswith("writing"):
        assert line or process.poll() is None
    time.sleep(0.5)
    process.send_signal(number)
    assert process.wait(30) == code
    process.stderr.close()
    assert list(tmp_path.iterdir()) == [scratch]
    assert list(scratch.iterdir()) == []


def test_a_terminal_is_not_commanded_by_a_name():
    assert outputs.printable("a\x1b[31m\u202eb\n\tc") == "a [31m b c"
    row = {
        "utterance": "日本\x07", "start": 0.0, "end": 1.0, "speaker": "", "text": "", "emotion": {"joy": 1.0},
        "sentiment": {}, "gates": {}, "prediction_set": ["joy"], "missing": [], "abstains": False,
    }  # fmt: skip
    heading, line = outputs.to_table([row]).splitlines()
    assert "\x07" not in line
    assert heading.index("seconds") == line.index("0.0-1.0") + 2  # two wide letters


def test_recordings_are_put_one_after_another():
    def one(name: str, source: str, start: float, end: float) -> RecordedUtterance:
        return RecordedUtterance(name, Path(source), start, end)

    dialogue = Dialogue([one("a#1", "a", 1, 2), one("a#2", "a", 3, 5), one("b", "b", 0, 2), one("c", "c", 0, 1)])
    assert outputs.joint_times(dialogue) == [(1, 2), (3, 5), (5, 7), (7, 8)]


def test_a_long_film_is_cut_where_it_is_silent(model, tmp_path, capsys):
    """Speech at 1 to 4 s and at 8 to 11 s of 22 s; two subtitles."""
    film = _film(tmp_path / "film.mp4", 22.0, ((1.0, 4.0), (8.0, 11.0)))
    film.with_suffix(".srt").write_text("00:00:02,0 --> 00:00:03,0\nOne\n\n00:00:09,0 --> 00:00:10,0\nTwo\n")
    assert predict(model, film, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["utterance"] for row in rows] == ["film#1", "film#2"]
    assert [row["text"] for row in rows] == ["One", "Two"]
    spans = [(row["start"], row["end"]) for row in rows]
    assert np.abs(np.array(spans) - [(1.0, 4.0), (8.0, 11.0)]).max() < 0.4


def test_a_short_one_is_cut_on_request_alone(model, tmp_path, capsys):
    film = _film(tmp_path / "film.mp4", 8.0, ((0.5, 2.5), (4.5, 7.0)))
    assert predict(model, film, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert predict(model, film, "--json", "--cut") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_words_without_times_for_a_film_that_is_cut_are_said_to_be_left_out(model, tmp_path, capsys):
    film = _film(tmp_path / "film.mp4", 8.0, ((0.5, 2.5), (4.5, 7.0)))
    table, said = tmp_path / "said.csv", f"no text: {transcripts.UNTIMED_REASON}"
    table.write_text("file,text,start,end\nfilm.mp4,One,,\nfilm.mp4,Two,4.5,7\n")
    assert predict(model, film, "--json", "--cut", "--text", table) == 0
    shown = capsys.readouterr()
    assert [row["text"] for row in json.loads(shown.out)] == ["", "Two"]
    assert f"merc: {said} (1 of 2)\n" in shown.err and "none was given" not in shown.err
    assert predict(model, film, "--json", "--text", table) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["text"] == "One Two" and said not in shown.err


def test_words_without_times_beside_recognised_ones_are_a_remark(model, tmp_path):
    film, table = _film(tmp_path / "film.mp4", 8.0, ((0.5, 2.5), (4.5, 7.0))), tmp_path / "said.csv"
    table.write_text("file,text\nfilm.mp4,One\n")
    for utterance in Predictor.load(Path(model)).read(film, texts=table, cut=True, asr=lambda samples: "heard"):
        assert utterance.text == "heard" and "text" not in utterance.missing
        assert f"text: {transcripts.UNTIMED_REASON}" in utterance.notes


def test_a_long_silent_film_is_cut_evenly(model, tmp_path, capsys):
    film = _film(tmp_path / "film.mp4", 32.0, ())
    assert predict(model, film, "--json") == 0
    shown = capsys.readouterr()
    spans = [(row["start"], row["end"]) for row in json.loads(shown.out)]
    assert len(spans) == 3
    assert spans[0][0] == 0 and spans[-1][1] == pytest.approx(32.0, abs=0.1)
    assert "no speech was found" in shown.err


def _film(path: Path, seconds: float, bursts: tuple) -> Path:
    """What WebRTC's detector takes for speech at these times; a grey picture a second."""
    rate = 16000
    moment = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * n * moment) / n for n in range(1, 20))
    voice *= 0.6 + 0.4 * np.sin(2 * np.pi * 4 * moment)
    loud = sum(((moment >= begin) & (moment < end)) for begin, end in bursts) if bursts else 0 * moment
    pictures = [np.full((96, 160, 3), 90 + number, np.uint8) for number in range(round(seconds))]
    return drawn.write(path, pictures=pictures, fps=1, sound=(0.12 * voice * loud).astype(np.float32), rate=rate)

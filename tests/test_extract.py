"""stages.extract on small corpora of MELD's shape: complete, every defect told, the same every time."""

import json
import os
from pathlib import Path

import drawn
import extracted
import numpy as np
import pytest
import soundfile

from merc.data.records import face_tracks, manifest, transcripts
from merc.data.records.listing import Utterance
from merc.media.extraction import extraction
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.runtime import params
from merc.runtime.errors import UserError
from stages import extract


def test_everything_is_written_and_fits_the_manifest(here):
    extracted.corpus(here / "data/raw/sample")
    extracted.truthless(here)
    extract.main("sample")
    for split in manifest.SPLITS:
        table = extracted.table_of(split)
        assert list(table["turn"]) == [0, 1] and list(table["group"]) == [f"sample/{split}/0"] * 2
        assert list(table["audio_status"]) == ["ok", "ok"] and list(table["vision_status"]) == ["no_face"] * 2
        for row in table.to_dict("records"):
            place = manifest.split_folder(split, "sample")
            samples, rate = soundfile.read(place / row["wav"])
            assert rate == 16000 and len(samples) == pytest.approx(0.4 * rate, abs=20)
            assert (place / row["frame"]).stat().st_size > 0 and face_tracks.read_tracks(place, row["tracks"]) == []
    assert json.loads(Path("metrics/extract/sample.json").read_text())["train"]["emotion"] == {"joy": 2}
    assert Path("plots/extract/sample/classes.csv").read_text().splitlines()[1] == "dev,joy,2"


def test_every_defect_keeps_its_row_and_its_reason(here):
    place = here / "data/raw/meld"
    rows = [
        extracted.row(0, 0, "It\x92s <ok>, \u201cisn\u2019t\u201d it?"),
        *(extracted.row(0, number) for number in (1, 2, 4, 5)),
        extracted.row(3, 0, Emotion="glee", StartTime="00:00:09,000", EndTime="never"),
        extracted.row(3, 1, ""),
    ]
    extracted.table(place / "train_sent_emo.csv", [*rows, extracted.row(0, 1, "Again.")])
    clips = place / "train_splits"
    whole = extracted.clip(clips / "dia0_utt0.mp4").read_bytes()
    (clips / "dia0_utt1.mp4").write_bytes(whole[: whole.rindex(b"moov") - 4])
    extracted.clip(clips / "dia0_utt4.mp4", seconds=2.0)
    extracted.clip(clips / "dia0_utt5.mp4", seconds=0.08)
    for name in ("dia3_utt0", "dia3_utt1", "dia9_utt9", "._dia0_utt0", "evil ..name"):
        (clips / f"{name}.mp4").write_bytes(whole)
    extract.main("meld")
    table = extracted.table_of(corpus="meld")
    assert list(table.index) == [f"dia0_utt{n}" for n in (0, 1, 2, 4, 5)] + ["dia3_utt0", "dia3_utt1"]
    assert list(table["turn"]) == [0, 1, 2, 3, 4, 0, 1]
    assert table.loc["dia0_utt0", "text"] == "It\u2019s <ok>, \u201cisn\u2019t\u201d it?"
    assert list(table["text_status"]) == ["repaired"] + ["ok"] * 5 + ["missing"]
    assert list(table["audio_status"]) == ["ok", "missing", "missing", "truncated", "padded", "ok", "ok"]
    assert table.loc["dia0_utt1", "vision_reason"].startswith("cannot be opened: Invalid data")
    assert table.loc["dia0_utt2", "vision_reason"] == "no clip of this name"
    assert table.loc["dia3_utt0", "emotion"] == "glee" and np.isnan(table.loc["dia3_utt0", "end"])
    assert len(extracted.table_of("dev", "meld")) == 0
    report = json.loads(Path("out/extract/report/meld.json").read_text())
    assert [note["item"].split("/")[-1] for note in report["ignored"]] == [
        "._dia0_utt0.mp4", "evil ..name.mp4", "dia0_utt1", "dia9_utt9.mp4",
    ]  # fmt: skip
    assert [note["item"] for note in report["decided"]] == ["dia3_utt0", "StartTime, EndTime", "dia0"]
    assert len(report["items"]) == 1 + 1 + 2 + 2 + 2 + 1 + 4  # repaired, no text, lost twice, cut, padded, no face


def test_two_runs_write_the_same_bytes(here):
    extracted.corpus(here / "data/raw/sample")
    extracted.truthless(here)
    extract.main("sample")
    first = extracted.hashes(here)
    extract.main("sample")
    assert extracted.hashes(here) == first


def _die(job):
    if job.utterance.name == "dia0_utt1":
        os._exit(7)
    return extraction_extract(job)


extraction_extract = extraction.extract_utterance


def test_two_machines_of_one_name_write_into_one_folder(tmp_path, monkeypatch):
    """Containers have the same host name, and number their processes alike."""
    settings = params.read("extract", ExtractionConfig, extracted.ROOT / "params.yaml")

    def write(name: str) -> None:
        values = dict.fromkeys(("emotion", "sentiment", "start", "end", "media", "clip"))
        one = Utterance("train", dialogue=name, name=name, group=name, speaker="", text="", **values)
        extraction._write(extraction.ExtractionJob(one, settings, tmp_path), f"{name}.wav", name.encode())

    rename, others = Path.replace, ["second"]

    def replace(path: Path, target: Path) -> Path:
        while others:  # the second machine writes before the first has renamed its file
            write(others.pop())
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    write("first")
    found = {path.name: path.read_text() for path in (tmp_path / "train").iterdir()}
    assert found == {"first.wav": "first", "second.wav": "second"}


def test_a_decoder_that_crashes_costs_its_clip(here, monkeypatch):
    extracted.corpus(here / "data/raw/sample")
    extracted.truthless(here)
    monkeypatch.setattr(extraction, "extract_utterance", _die)
    extract.main("sample")
    table = extracted.table_of()
    assert list(table["audio_status"]) == ["ok", "missing"]
    assert table.loc["dia0_utt1", "audio_reason"] == "given up: its worker process died (exit code 7)"


def _stumble(job):
    if job.utterance.name in ("dia0_utt1", "dia0_utt3"):
        raise LookupError(f"index {job.utterance.name}\nout of range")
    return extraction_extract(job)


def test_whatever_a_clip_raises_costs_that_clip_alone(here, monkeypatch):
    extracted.corpus(here / "data/raw/sample", count=4)
    extracted.truthless(here)
    monkeypatch.setattr(extraction, "extract_utterance", _stumble)
    monkeypatch.setattr(extraction, "MIN_FAILED", 7)
    extract.main("sample")
    table = extracted.table_of()
    assert list(table["audio_status"]) == ["ok", "missing", "ok", "missing"]
    assert list(table["vision_status"] == "missing") == [False, True, False, True]
    reason = table.loc["dia0_utt1", "audio_reason"]
    assert reason.startswith("given up: LookupError in test_extract.py line")
    assert reason.endswith(": index dia0_utt1 out of range")
    items = json.loads(Path("out/extract/report/sample.json").read_text())["items"]
    assert reason in {item["reason"] for item in items}


def test_when_many_clips_fail_unforeseen_the_run_stops_and_a_later_one_goes_on(here, monkeypatch):
    extracted.corpus(here / "data/raw/sample", count=4)
    extracted.truthless(here)
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "extract_utterance", _stumble)
        with pytest.raises(SystemExit, match="6 of 12 clips failed; the first: LookupError") as stopped:
            extract.main("sample")
    assert isinstance(stopped.value.code, str)  # the process writes it and ends with 1
    extract.main("sample")
    assert set(extracted.table_of()["audio_status"]) == {"ok"}


def test_of_a_hundred_clips_ten_break_in_ten_ways_and_each_row_says_how(here, monkeypatch):
    """One raises what nobody foresaw and one kills its process; the run ends well all the same."""
    place = here / "data/raw/meld"
    extracted.table(place / "train_sent_emo.csv", [extracted.row(0, number) for number in range(100)])
    clips = place / "train_splits"
    whole = extracted.clip(clips / "dia0_utt0.mp4").read_bytes()
    for number in range(1, 100):
        (clips / f"dia0_utt{number}.mp4").write_bytes(whole)
    broken = {number: clips / f"dia0_utt{number}.mp4" for number in range(0, 100, 10)}
    broken[0].write_bytes(b"")
    broken[10].write_bytes(whole[: whole.rindex(b"moov") - 4])
    broken[20].write_bytes(np.random.default_rng(1).bytes(5000))
    broken[30].write_text("ffconcat version 1.0\nfile dia0_utt1.mp4\n", encoding="ascii")
    with broken[40].open("wb") as file:
        drawn.same_packets(file, [0], streams=70)
    drawn.write(broken[50], pictures=[np.zeros((5200, 8000, 3), np.uint8)] * 3)
    broken[60].write_bytes(whole.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz").replace(b"avc1", b"zzzz"))
    broken[70].unlink()
    monkeypatch.setattr(extraction, "extract_utterance", _break)
    extract.main("meld")
    table = extracted.table_of(corpus="meld")
    assert len(table) == 100
    bad = table[table["vision_status"] == "missing"]
    assert list(bad.index) == [f"dia0_utt{number}" for number in broken]
    assert set(table.drop(bad.index)["audio_status"]) == {"ok"}
    assert all(bad["audio_reason"]) and bad["vision_reason"].nunique() >= 9, list(bad["vision_reason"])
    items = json.loads(Path("out/extract/report/meld.json").read_text())["items"]
    assert set(bad["vision_reason"]) <= {item["reason"] for item in items}


def _break(job):
    if job.utterance.name == "dia0_utt80":
        raise LookupError("index out of range")
    if job.utterance.name == "dia0_utt90":
        os._exit(3)
    return extraction_extract(job)


@pytest.mark.parametrize("detector", ["none", "haar"])
def test_pictures_at_a_fixed_rate(here, detector):
    extracted.corpus(here / "data/raw/sample", count=1)
    extracted.truthless(here)
    wanted = extracted.PARAMS.replace("fps: 0.0", "fps: 10.0").replace("detector: haar", f"detector: {detector}")
    Path("params.yaml").write_text(wanted, encoding="utf-8")
    extract.main("sample")
    files = sorted(Path("out/extract/dev/sample/frames/dia0_utt0").iterdir())
    assert [file.name for file in files] == ["0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"]
    shown = [face_tracks.decode_jpeg(np.fromfile(file, np.uint8)) for file in files]
    assert shown[0].shape == (48, 80, 3) and [one.mean() > 128 for one in shown] == [False, False, True, True]
    assert (extracted.table_of("dev")["tracks"].isna() == (detector == "none")).all()


def test_repair_touches_strays_alone():
    assert transcripts.repair("It\x92s \x93fine\x94 \x96 caf\xe9\x81") == (
        "It\u2019s \u201cfine\u201d \u2013 caf\xe9",
        5,
    )
    assert transcripts.repair("It\u2019s fine.") == ("It\u2019s fine.", 0)
    assert transcripts.decode("caf\xe9 \u2019".encode("cp1252")) == "caf\xe9 \u2019"
    assert transcripts.decode(b"\xef\xbb\xbfSr No.") == "Sr No."


def test_settings_that_cannot_be_are_refused(here):
    for old, new, words in (
        ("detector: haar", "detector: har", "choose one of none, haar, yunet, mtcnn"),
        ("min_seconds: 0.2", "min_seconds: 2.0", "min_seconds <= max_seconds"),
        ("size: 32", "size: 2", "extract.faces.size = 2: .* greater than or equal to 8"),
        ("frame: middle", "frame: midle", "middle, face"),
        ("vad: none", "vad: som", "choose one of none, webrtc, silero"),
        ("fps: 0.0", "fps: 26.0", "less than or equal to 25"),
        ("detector:", "detectr:", "did you mean detector"),
    ):
        Path("params.yaml").write_text(extracted.PARAMS.replace(old, new), encoding="utf-8")
        with pytest.raises(UserError, match=words):
            extract.main("sample")

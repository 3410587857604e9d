"""stages.extract on small corpora of MELD's shape: complete, in every layout, restartable, the same every time."""

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import drawn
import numpy as np
import pytest
import soundfile

from merc import corpora, extraction, facetracks, manifest, media, partial, portraits, sound, speech, text, tracks
from merc.faces import Face
from merc.pictures import Pictures
from merc.problem import Problem
from stages import extract

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT.parent / "shared" / "data" / "clips"
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
COLUMNS = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season",
           "Episode", "StartTime", "EndTime")  # fmt: skip
PARAMS = """
data:
  sample: {}
  meld:
    twins: evidence
    media: clips
compute:
  workers: 2
extract:
  audio:
    min_seconds: 0.2
    max_seconds: 1.0
    vad: none
    trim: false
  video:
    frame: middle
    fps: 0.0
    side: 80
  faces:
    detector: haar
    size: 32
  align: none
"""


def _clip(path: Path, seconds: float = 0.4) -> Path:
    times = [index / 25 for index in range(round(seconds * 25))]
    sound = drawn.tone(seconds, 22050)
    return drawn.write(path, pictures=drawn.flashes(times, seconds / 2), sound=sound)


def _row(dialogue: int, number: int, words: str = "Fine.", **changes: str) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "1")
    row |= {"Utterance": words, "Speaker": "Ada", "Emotion": "joy", "Sentiment": "positive"}
    row |= {"Dialogue_ID": str(dialogue), "Utterance_ID": str(number)}
    return row | {"StartTime": "00:00:01,000", "EndTime": "00:00:01,400"} | changes


def _table(path: Path, rows: list[dict[str, str]], columns=COLUMNS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    return tmp_path


def _corpus(place: Path, count: int = 2) -> Path:
    """A corpus with `count` utterances in a dialogue of each split, all of one clip."""
    whole = _clip(place / "clip.mp4")
    for split, name in FOLDERS.items():
        _table(place / f"{split}_sent_emo.csv", [_row(0, number) for number in range(count)])
        for number in range(count):
            target = place / name / f"dia0_utt{number}.mp4"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(whole, target)
    whole.unlink()
    return place


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".partial" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _manifest(split: str = "train", corpus: str = "sample"):
    return manifest.read(split, [corpus]).set_index("utterance")


def test_everything_is_written_and_fits_the_manifest(here):
    _corpus(here / "data/raw/sample")
    _truthless(here)
    extract.main("sample")
    for split in manifest.SPLITS:
        table = _manifest(split)
        assert list(table["turn"]) == [0, 1] and list(table["group"]) == [f"sample/{split}/0"] * 2
        assert list(table["audio_status"]) == ["ok", "ok"] and list(table["vision_status"]) == ["no_face"] * 2
        for row in table.to_dict("records"):
            place = manifest.folder(split, "sample")
            samples, rate = soundfile.read(place / row["wav"])
            assert rate == 16000 and len(samples) == pytest.approx(0.4 * rate, abs=20)
            assert (place / row["frame"]).stat().st_size > 0 and tracks.read(place / row["tracks"]) == []
    assert json.loads(Path("metrics/extract/sample.json").read_text())["train"]["emotion"] == {"joy": 2}
    assert Path("plots/extract/sample/classes.csv").read_text().splitlines()[1] == "dev,joy,2"


def _truthless(here: Path) -> None:
    from merc import truth

    for split in manifest.SPLITS:
        truth.write(here / f"data/raw/sample/truth/{split}.parquet", [])


def test_every_defect_keeps_its_row_and_its_reason(here):
    place = here / "data/raw/meld"
    rows = [
        _row(0, 0, "It\x92s <ok>, \u201cisn\u2019t\u201d it?"),
        *(_row(0, number) for number in (1, 2, 4, 5)),
        _row(3, 0, Emotion="glee", StartTime="00:00:09,000", EndTime="never"),
        _row(3, 1, ""),
    ]
    _table(place / "train_sent_emo.csv", [*rows, _row(0, 1, "Again.")])
    clips = place / "train_splits"
    whole = _clip(clips / "dia0_utt0.mp4").read_bytes()
    (clips / "dia0_utt1.mp4").write_bytes(whole[: whole.rindex(b"moov") - 4])
    _clip(clips / "dia0_utt4.mp4", seconds=2.0)
    _clip(clips / "dia0_utt5.mp4", seconds=0.08)
    for name in ("dia3_utt0", "dia3_utt1", "dia9_utt9", "._dia0_utt0", "evil ..name"):
        (clips / f"{name}.mp4").write_bytes(whole)
    extract.main("meld")
    table = _manifest(corpus="meld")
    assert list(table.index) == [f"dia0_utt{n}" for n in (0, 1, 2, 4, 5)] + ["dia3_utt0", "dia3_utt1"]
    assert list(table["turn"]) == [0, 1, 2, 3, 4, 0, 1]
    assert table.loc["dia0_utt0", "text"] == "It\u2019s <ok>, \u201cisn\u2019t\u201d it?"
    assert list(table["text_status"]) == ["repaired"] + ["ok"] * 5 + ["missing"]
    assert list(table["audio_status"]) == ["ok", "missing", "missing", "truncated", "padded", "ok", "ok"]
    assert table.loc["dia0_utt1", "vision_reason"].startswith("cannot be opened: Invalid data")
    assert table.loc["dia0_utt2", "vision_reason"] == "no clip of this name"
    assert table.loc["dia3_utt0", "emotion"] == "glee" and np.isnan(table.loc["dia3_utt0", "end"])
    assert len(_manifest("dev", "meld")) == 0
    report = json.loads(Path("out/extract/report/meld.json").read_text())
    assert [note["item"].split("/")[-1] for note in report["ignored"]] == [
        "._dia0_utt0.mp4", "evil ..name.mp4", "dia0_utt1", "dia9_utt9.mp4",
    ]  # fmt: skip
    assert [note["item"] for note in report["decided"]] == ["dia3_utt0", "dia3_utt0", "dia0"]
    assert len(report["items"]) == 1 + 1 + 2 + 2 + 2 + 1 + 4  # repaired, no text, lost twice, cut, padded, no face


@pytest.mark.parametrize(
    ("table", "folder", "words"),
    [
        ("{split}_sent_emo.csv", "{official}", "Utterance"),
        ("MELD.Raw/{split}_sent_emo.csv", "MELD.Raw/{split}/{official}", "Utterance"),
        ("{split}/{split}_sent_emo.csv", "{split}/{split}_splits", "Text"),
        ("{split}_sent_emo.csv", "{split}/videos", "Utterance"),
    ],
)
def test_every_layout_is_found_also_behind_a_link(here, table, folder, words):
    place = here / "elsewhere"
    columns = [words if column == "Utterance" else column for column in COLUMNS]
    for split, official in FOLDERS.items():
        row = _row(0, 0)
        _table(place / table.format(split=split), [row | {words: row["Utterance"]}], columns)
        _clip(place / folder.format(split=split, official=official) / "dia0_utt0.mp4")
    (here / "data/raw").mkdir(parents=True)
    (here / "data/raw/meld").symlink_to(place)
    listing = corpora.read("meld", Path("data/raw/meld"), here / "scratch")
    assert [one.split for one in listing.utterances] == list(FOLDERS)
    assert all(one.media is not None and one.text == "Fine." for one in listing.utterances)
    assert listing.ignored == []


def _archive(path: Path, members: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as opened:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1000
            opened.addfile(member, io.BytesIO(content))
    return path.read_bytes()


def test_nested_archives_are_unpacked_aside_and_nowhere_else(here):
    _table(here / "a.csv", [_row(0, 0)])
    table, clip = (here / "a.csv").read_bytes(), _clip(here / "a.mp4").read_bytes()
    members = {f"MELD.Raw/{split}_sent_emo.csv": table for split in FOLDERS}
    for split, official in FOLDERS.items():
        inner = {
            f"{official}/dia0_utt0.mp4": clip,
            f"{official}/../../../evil.mp4": clip,
            f"{official}/._dia0_utt0.mp4": b"",
        }
        members[f"MELD.Raw/{split}.tar.gz"] = _archive(here / "inner.tar.gz", inner)
    place, scratch = here / "data/raw/meld", here / "scratch"
    whole = _archive(place / "MELD.Raw.tar.gz", members)
    before = _hashes(here)
    for _ in range(2):  # the second time nothing is unpacked
        listing = corpora.read("meld", place, scratch)
        assert [one.clip for one in listing.utterances] == [f"{split}/dia0_utt0.mp4" for split in FOLDERS]
        assert [note["item"] for note in listing.ignored] == ["evil.mp4", "._dia0_utt0.mp4"] * 3 + [
            "MELD.Raw.tar.gz"
        ]
    assert {name: value for name, value in _hashes(here).items() if not name.startswith("scratch/")} == before
    (place / "MELD.Raw.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Problem, match="download it again"):
        corpora.read("meld", place, scratch)


@pytest.mark.parametrize(("twins", "chosen"), [("evidence", "final"), ("plain", "plain"), ("final", "final")])
def test_twins_are_decided_by_the_length_in_the_csv_or_by_force(here, twins, chosen):
    Path("params.yaml").write_text(PARAMS.replace("twins: evidence", f"twins: {twins}"), encoding="utf-8")
    place = here / "data/raw/meld"
    _table(place / "test_sent_emo.csv", [_row(0, 0)])
    _clip(place / "test_splits/dia0_utt0.mp4", seconds=1.2)
    _clip(place / "test_splits/final_videos_testdia0_utt0.mp4", seconds=0.4)
    listing = corpora.read("meld", place, here / "scratch")
    names = {"plain": "test_splits/dia0_utt0.mp4", "final": "test_splits/final_videos_testdia0_utt0.mp4"}
    assert listing.utterances[0].clip == names[chosen]
    assert names[chosen] in listing.decided[0]["reason"]


def test_without_media_every_clip_is_missing_with_the_reason_and_none_is_opened(here, monkeypatch):
    Path("params.yaml").write_text(PARAMS.replace("media: clips", "media: none"), encoding="utf-8")
    place = _corpus(here / "data/raw/meld")
    (place / "MELD.Raw.tar.gz").write_bytes(b"no archive")
    monkeypatch.setattr(media, "read", None)
    extract.main("meld")
    for split in manifest.SPLITS:
        table = _manifest(split, "meld")
        assert list(table["text_status"]) == ["ok", "ok"]
        for medium in ("audio", "vision"):
            assert set(table[f"{medium}_status"]) == {manifest.MISSING}
            assert set(table[f"{medium}_reason"]) == {"data.meld.media is none"}
        assert table[["clip", "wav", "frame", "tracks"]].isna().all(axis=None)
    counts = json.loads(Path("metrics/extract/meld.json").read_text())["dev"]
    assert counts["utterances"] == 2 and counts["missing"] == {"text": 0, "audio": 2, "vision": 2}
    assert json.loads(Path("out/extract/report/meld.json").read_text())["ignored"] == []


def test_a_table_that_cannot_be_used_is_one_clear_line(here):
    place = here / "data/raw/meld"
    for content, words in {
        "": "lacks the columns",
        "Utterance,Speaker\n": "lacks the columns Emotion",
        ",".join(COLUMNS) + "\n1,Hi,Ada,joy,positive,x,0,1,1,,\n": r"line 2: Dialogue_ID = 'x': not a number",
        ",".join(COLUMNS) + "\n1,Hi,Ada,joy,positive,-1,0,1,1,,\n": "not a number",
    }.items():
        _table(place / "train_sent_emo.csv", [])
        (place / "train_sent_emo.csv").write_text(content, encoding="utf-8")
        with pytest.raises(Problem, match=words):
            corpora.read("meld", place, here / "scratch")
    with pytest.raises(Problem, match="holds none of train_sent_emo"):
        (place / "train_sent_emo.csv").unlink()
        corpora.read("meld", place, here / "scratch")
    with pytest.raises(Problem, match="not there"):
        corpora.read("meld", here / "nowhere", here / "scratch")
    with pytest.raises(Problem, match="choose from"):
        corpora.read("medl", place, here / "scratch")


def test_two_runs_write_the_same_bytes(here):
    _corpus(here / "data/raw/sample")
    _truthless(here)
    extract.main("sample")
    first = _hashes(here)
    extract.main("sample")
    assert _hashes(here) == first


def _start(here: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.extract", "sample"]
    return subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True)


def _kill_halfway(here: Path, finished: int) -> None:
    process = _start(here)
    deadline = time.monotonic() + 60
    while len(list(here.glob("out/.partial/extract-sample/*/done/*/*.json"))) < finished:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_run_is_continued_and_other_parameters_are_not(here):
    _corpus(here / "data/raw/sample", count=60)
    _truthless(here)
    extract.main("sample")
    wanted = _hashes(here)
    _kill_halfway(here, 20)
    Path("params.yaml").write_text(PARAMS.replace("size: 32", "size: 16"), encoding="utf-8")
    _kill_halfway(here, 20)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    assert "were finished by an earlier run" in _start(here).communicate(timeout=60)[0]
    assert _hashes(here) == wanted
    assert not (here / "out/.partial/extract-sample").exists()


def test_a_second_writer_is_refused(here, monkeypatch):
    monkeypatch.setattr(partial, "LOCK_SECONDS", 0.1)
    with (
        partial.locked("extract-sample"),
        pytest.raises(Problem, match=f"process {os.getpid()} is at work"),
        partial.locked("extract-sample"),
    ):
        pass


def _die(job):
    if job.utterance.name == "dia0_utt1":
        os._exit(7)
    return extraction_extract(job)


extraction_extract = extraction.extract


def test_a_decoder_that_crashes_costs_its_clip(here, monkeypatch):
    _corpus(here / "data/raw/sample")
    _truthless(here)
    monkeypatch.setattr(extraction, "extract", _die)
    extract.main("sample")
    table = _manifest()
    assert list(table["audio_status"]) == ["ok", "missing"]
    assert table.loc["dia0_utt1", "audio_reason"] == "given up: its worker process died (exit code 7)"


def test_a_face_is_followed_smoothly_over_a_gap_but_not_over_a_cut():
    size, places = 40, [(20 + number // 2, 30) for number in range(60)]
    ticks = [np.full((120, 160, 3), 60, np.uint8) for _ in places]
    for tick, (left, top) in zip(ticks, places, strict=True):
        tick[top : top + size, left : left + size] = 200
    ticks += [np.full((120, 160, 3), 250, np.uint8)] * 10
    calls = []

    def detect(pictures):
        calls.append(len(pictures))
        found = [np.argwhere(picture[:, :, 0] == 200) for picture in pictures]
        boxes = [[] if not len(at) else [Face(np.array([at[0][1], at[0][0], size, size], float))] for at in found]
        return [[] if number == 2 else faces for number, faces in enumerate(boxes)]

    followed = facetracks.follow(Pictures(ticks=ticks, first=3, scale=2.0), detect, 32)
    assert len(followed) == 1 and len(calls) == 2
    track = followed[0]
    assert list(track.frames) == list(range(3, 63)) and track.crops.shape == (60, 32, 32, 3)
    error = track.boxes - 2 * np.array([[left, top, size, size] for left, top in places])
    assert np.abs(error[6:-6]).max() < 2.5


def test_the_picture_can_be_the_sharpest_of_the_largest_face():
    rng = np.random.default_rng(0)
    blurred = np.full((32, 32, 3), 90, np.uint8)
    crops = np.stack([rng.integers(0, 255, (32, 32, 3), np.uint8) if tick == 24 else blurred for tick in range(40)])
    boxes = np.tile(np.array([[0, 0, 30, 30]], np.float32), (40, 1))
    track = tracks.Track(np.arange(3, 43, dtype=np.int32), boxes, crops)
    kept = {tick: (lambda tick=tick: np.full((2, 2, 3), tick)) for tick in (3, 15, 27, 39)}
    pictures = Pictures(middle=np.zeros((2, 2, 3)), kept=kept, first=3)
    assert portraits.PORTRAITS["face"](pictures, [track])[0, 0, 0] == 27
    assert portraits.PORTRAITS["face"](pictures, [])[0, 0, 0] == 0
    assert portraits.PORTRAITS["middle"](pictures, [track])[0, 0, 0] == 0


@pytest.mark.parametrize("detector", ["none", "haar"])
def test_pictures_at_a_fixed_rate(here, detector):
    _corpus(here / "data/raw/sample", count=1)
    _truthless(here)
    wanted = PARAMS.replace("fps: 0.0", "fps: 10.0").replace("detector: haar", f"detector: {detector}")
    Path("params.yaml").write_text(wanted, encoding="utf-8")
    extract.main("sample")
    files = sorted(Path("out/extract/dev/sample/frames/dia0_utt0").iterdir())
    assert [file.name for file in files] == ["0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"]
    shown = [tracks.decode(np.fromfile(file, np.uint8)) for file in files]
    assert shown[0].shape == (48, 80, 3) and [one.mean() > 128 for one in shown] == [False, False, True, True]
    assert (_manifest("dev")["tracks"].isna() == (detector == "none")).all()


def test_silence_falls_where_nobody_speaks_and_nothing_is_lost_where_nobody_does():
    samples = np.full(1600, 7, np.int16)
    half = speech.listen(sound.Sound(samples), lambda heard: np.arange(len(heard)) < 800, False, 0.01)
    assert list(np.unique(half.samples[:800])) == [7] and not half.samples[800:].any() and half.flags == []
    raw = speech.listen(sound.Sound(samples), lambda heard: np.zeros(len(heard), bool), False, 0.01)
    assert (raw.samples == samples).all() and raw.flags == ["no_speech"]


@pytest.mark.parametrize("detector", ["webrtc", "silero"])
def test_speech_detectors_tell_a_voice_from_silence(detector):
    pytest.importorskip(speech.PACKAGES[detector][0])
    if not GRID.is_dir():
        pytest.skip("no ../shared/data")
    voice = media.read(GRID / "bbaf2n.mpg", media.Limits(0.2, 15.0), ticks=False)[0].samples
    heard = speech.DETECTORS[detector](voice)
    assert len(heard) == len(voice) and 0.3 < heard.mean() < 1
    assert not speech.DETECTORS[detector](np.zeros(8000, np.int16)).any()


def test_tracks_survive_their_file(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(0, 255, (150, 4, 4, 3), dtype=np.uint8), 8, 1), 8, 2)
    track = tracks.Track(np.arange(7, 157, dtype=np.int32), rng.random((150, 4)).astype(np.float32), smooth)
    other = tracks.Track(track.frames[:3], track.boxes[:3], smooth[:3])
    tracks.write(tmp_path / "a.safetensors", [track, other])
    for wrote, found in zip([track, other], tracks.read(tmp_path / "a.safetensors"), strict=True):
        assert (found.frames == wrote.frames).all() and (found.boxes == wrote.boxes).all()
        assert np.abs(found.crops.astype(int) - wrote.crops).mean() < 25
    tracks.write(tmp_path / "b.safetensors", [])
    assert tracks.read(tmp_path / "b.safetensors") == []


def test_repair_touches_strays_alone():
    assert text.repair("It\x92s \x93fine\x94 \x96 caf\xe9\x81") == ("It\u2019s \u201cfine\u201d \u2013 caf\xe9", 5)
    assert text.repair("It\u2019s fine.") == ("It\u2019s fine.", 0)
    assert text.decode("caf\xe9 \u2019".encode("cp1252")) == "caf\xe9 \u2019"
    assert text.decode(b"\xef\xbb\xbfSr No.") == "Sr No."


def test_settings_that_cannot_be_are_refused(here):
    for old, new, words in (
        ("detector: haar", "detector: har", "choose one of none, haar, mtcnn"),
        ("min_seconds: 0.2", "min_seconds: 2.0", "min_seconds <= max_seconds"),
        ("size: 32", "size: 2", "at least 8"),
        ("frame: middle", "frame: midle", "middle, face"),
        ("vad: none", "vad: som", "choose one of none, webrtc, silero"),
        ("fps: 0.0", "fps: 26.0", "0 to 25"),
        ("detector:", "detectr:", "did you mean detector"),
    ):
        Path("params.yaml").write_text(PARAMS.replace(old, new), encoding="utf-8")
        with pytest.raises(Problem, match=words):
            extract.main("sample")

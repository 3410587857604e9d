"""MELD in every form that users have it."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import extracted
import pytest

from merc.corpora import registry
from merc.data.records import manifest
from merc.media import clip_reader
from merc.runtime.errors import UserError
from stages import extract


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
    columns = [words if column == "Utterance" else column for column in extracted.COLUMNS]
    for split, official in extracted.FOLDERS.items():
        row = extracted.row(0, 0)
        extracted.table(place / table.format(split=split), [row | {words: row["Utterance"]}], columns)
        extracted.clip(place / folder.format(split=split, official=official) / "dia0_utt0.mp4")
    (here / "data/raw").mkdir(parents=True)
    (here / "data/raw/meld").symlink_to(place)
    listing = registry.read_corpus("meld", Path("data/raw/meld"), here / "scratch")
    assert [utterance.split for utterance in listing.utterances] == list(extracted.FOLDERS)
    assert all(utterance.media is not None and utterance.text == "Fine." for utterance in listing.utterances)
    assert listing.ignored == []


def test_nested_archives_are_unpacked_aside_and_nowhere_else(here):
    extracted.table(here / "a.csv", [extracted.row(0, 0)])
    table, clip = (here / "a.csv").read_bytes(), extracted.clip(here / "a.mp4").read_bytes()
    members = {f"MELD.Raw/{split}_sent_emo.csv": table for split in extracted.FOLDERS}
    for split, official in extracted.FOLDERS.items():
        inner = {
            f"{official}/dia0_utt0.mp4": clip,
            f"{official}/../../../evil.mp4": clip,
            f"{official}/._dia0_utt0.mp4": b"",
        }
        members[f"MELD.Raw/{split}.tar.gz"] = extracted.archive(here / "inner.tar.gz", inner)
    place, scratch = here / "data/raw/meld", here / "scratch"
    whole = extracted.archive(place / "MELD.Raw.tar.gz", members)
    before = extracted.hashes(here)
    for _ in range(2):  # the second time nothing is unpacked
        listing = registry.read_corpus("meld", place, scratch)
        assert [utterance.clip for utterance in listing.utterances] == [
            f"{split}/dia0_utt0.mp4" for split in extracted.FOLDERS
        ]
        assert [note["item"] for note in listing.ignored] == ["evil.mp4", "._dia0_utt0.mp4"] * 3 + [
            "MELD.Raw.tar.gz"
        ]
    assert {
        name: value for name, value in extracted.hashes(here).items() if not name.startswith("scratch/")
    } == before
    (place / "MELD.Raw.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="download it again"):
        registry.read_corpus("meld", place, scratch)


def _zipped(path: Path, members: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
        link = zipfile.ZipInfo("train/train_splits/dia7_utt7.mp4")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    return path.read_bytes()


@pytest.mark.parametrize("nested", ["", "train.tar.gz", "train.zip"])
def test_a_zip_is_unpacked_aside_and_nowhere_else(here, nested):
    extracted.table(here / "a.csv", [extracted.row(0, 0)])
    table, clip = (here / "a.csv").read_bytes(), extracted.clip(here / "a.mp4").read_bytes()
    clips = {
        "train/train_splits/dia0_utt0.mp4": clip,
        "train\\train_splits\\dia0_utt1.mp4": clip,
        "../../train/train_splits/dia0_utt2.mp4": clip,
        "/train/train_splits/../../../evil.mp4": clip,
        "train/train_splits/notes.txt": b"",
    }
    place, scratch = here / "data/raw/meld", here / "scratch"
    if nested:
        pack = _zipped if nested.endswith(".zip") else extracted.archive
        clips = {f"MELD.Raw/{nested}": pack(here / "inner", {k.replace("\\", "/"): v for k, v in clips.items()})}
    whole = _zipped(place / "archive.zip", {"MELD.Raw/train_sent_emo.csv": table, **clips})
    before, siblings = extracted.hashes(here), set(here.parent.iterdir())
    listing = registry.read_corpus("meld", place, scratch)
    assert [utterance.clip for utterance in listing.utterances] == ["train/dia0_utt0.mp4"]
    assert listing.utterances[0].media.read_bytes() == clip
    noted = sorted(note["item"] for note in listing.ignored)
    assert noted == ["evil.mp4", "train/dia0_utt1.mp4", "train/dia0_utt2.mp4"]
    after = extracted.hashes(here)
    assert {name: after[name] for name in after if not name.startswith("scratch/")} == before
    assert set(here.parent.iterdir()) == siblings
    for broken in (whole[: len(whole) // 2], whole[:100] + bytes(200) + whole[300:], b""):
        (place / "archive.zip").write_bytes(broken)
        with pytest.raises(UserError, match=r"archive.zip: cannot be unpacked .*; download it again"):
            registry.read_corpus("meld", place, here / f"scratch{len(broken)}")


@pytest.mark.parametrize(("twins", "chosen"), [("evidence", "final"), ("plain", "plain"), ("final", "final")])
def test_twins_are_decided_by_the_length_in_the_csv_or_by_force(here, twins, chosen):
    Path("params.yaml").write_text(extracted.PARAMS.replace("twins: evidence", f"twins: {twins}"), encoding="utf-8")
    place = here / "data/raw/meld"
    extracted.table(place / "test_sent_emo.csv", [extracted.row(0, 0)])
    extracted.clip(place / "test_splits/dia0_utt0.mp4", seconds=1.2)
    extracted.clip(place / "test_splits/final_videos_testdia0_utt0.mp4", seconds=0.4)
    listing = registry.read_corpus("meld", place, here / "scratch")
    names = {"plain": "test_splits/dia0_utt0.mp4", "final": "test_splits/final_videos_testdia0_utt0.mp4"}
    assert listing.utterances[0].clip == names[chosen]
    assert names[chosen] in listing.decided[0]["reason"]


def test_without_media_every_clip_is_missing_with_the_reason_and_none_is_opened(here, monkeypatch):
    Path("params.yaml").write_text(extracted.PARAMS.replace("media: clips", "media: none"), encoding="utf-8")
    place = extracted.corpus(here / "data/raw/meld")
    (place / "MELD.Raw.tar.gz").write_bytes(b"no archive")
    monkeypatch.setattr(clip_reader, "read_clip", None)
    extract.main("meld")
    for split in manifest.SPLITS:
        table = extracted.table_of(split, "meld")
        assert list(table["text_status"]) == ["ok", "ok"]
        for medium in ("audio", "vision"):
            assert set(table[f"{medium}_status"]) == {manifest.MISSING}
            assert set(table[f"{medium}_reason"]) == {"data.meld.media is none"}
        assert table[["clip", "wav", "frame", "tracks"]].isna().all(axis=None)
    counts = json.loads(Path("metrics/extract/meld.json").read_text())["dev"]
    assert counts["utterances"] == 2 and counts["missing"] == {"text": 0, "audio": 2, "vision": 2}
    assert json.loads(Path("out/extract/report/meld.json").read_text())["ignored"] == []


def test_gaps_are_named_as_ranges_however_wide(here):
    rows = [extracted.row(0, number) for number in (2, 3, 5, 9, 999_999_999)] + [extracted.row(1, 0)]
    extracted.table(here / "train_sent_emo.csv", rows)
    (gaps,) = registry.read_corpus("meld", here, here / "scratch").decided
    skipped = "0 to 1, 4, 6 to 8, 10 to 999999998"
    assert gaps == {
        "split": "train",
        "item": "dia0",
        "reason": f"utterances {skipped} are skipped; turns have no gaps",
    }


LISTS_A_MILLION = """
import resource, sys, time
from pathlib import Path
from merc.corpora import registry
listing = registry.read_corpus("meld", Path("."), Path("scratch"))
print(len(listing.utterances), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux alone")
def test_a_million_rows_are_listed_within_a_minute_and_2_gb(here):
    rows = [extracted.row(number // 20, number % 20, f"It is all fine, {number}.") for number in range(1_000_000)]
    extracted.table(here / "train_sent_emo.csv", rows)
    command = [sys.executable, "-c", LISTS_A_MILLION]
    environment = os.environ | {"PYTHONPATH": str(extracted.ROOT)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    count, seconds, gigabytes = map(float, answer.split())
    assert (count, seconds < 60, gigabytes < 2) == (1_000_000, True, True)


def test_a_table_that_cannot_be_used_is_one_clear_line(here):
    place = here / "data/raw/meld"
    header = ",".join(extracted.COLUMNS) + "\n"
    for content, words in {
        "": "lacks the columns",
        "Utterance,Speaker\n": "lacks the columns Emotion",
        header + "1,Hi,Ada,joy,positive,x,0,1,1,,\n": r"line 2: Dialogue_ID = 'x': not a number",
        header + "1,Hi,Ada,joy,positive,-1,0,1,1,,\n": "not a number",
    }.items():
        extracted.table(place / "train_sent_emo.csv", [])
        (place / "train_sent_emo.csv").write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=words):
            registry.read_corpus("meld", place, here / "scratch")
    with pytest.raises(UserError, match="holds none of train_sent_emo"):
        (place / "train_sent_emo.csv").unlink()
        registry.read_corpus("meld", place, here / "scratch")
    with pytest.raises(UserError, match="not there"):
        registry.read_corpus("meld", here / "nowhere", here / "scratch")
    with pytest.raises(UserError, match="choose from"):
        registry.read_corpus("medl", place, here / "scratch")

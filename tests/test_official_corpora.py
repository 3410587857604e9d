"""CMU-MOSI, CMU-MOSEI, CREMA-D, EmoDB and EmoryNLP in their official forms, drawn small: what their readers say."""

import json
import re
from pathlib import Path

import corpora_files
import numpy as np
import pytest

from merc.corpora import registry
from merc.data.records import labels
from merc.data.records.manifest import SPLITS
from merc.media.extraction import extraction
from merc.runtime.errors import UserError


def listed(corpus: str, place: Path, **changes):
    options = corpora_files.FILES[corpus][1] | changes
    reader = registry.reader_module(corpus)
    return reader.read(place, place / "scratch", reader.Options.model_validate(options))


def drawn(corpus: str, place: Path):
    corpora_files.FILES[corpus][0](place)
    return listed(corpus, place)


def targets(corpus: str, listing, space: str, task: str) -> np.ndarray:
    return labels.label_space(space).targets(extraction.label_rows(corpus, listing), task)


def test_mosi_in_mmsas_form(tmp_path):
    found = drawn("mosi", tmp_path)
    first, second = found.utterances[:2]
    assert (first.name, first.text, first.sentiment, first.split) == (
        "03bSnISJMiM_1",
        "I LOVED IT",
        "positive",
        "train",
    )
    assert first.labels == {"sentiment_score": 2.4} and second.sentiment == "negative"
    assert first.clip == "Raw/03bSnISJMiM/1.mp4" and first.group == "mosi/03bSnISJMiM"
    assert [one.split for one in found.utterances] == [split for split in SPLITS for _ in range(2)]
    assert np.allclose(targets("mosi", found, "mosi", "sentiment"), [2.4, -1.8] * 3)
    assert targets("mosi", found, "mosi2", "sentiment").tolist() == [1, 0] * 3


def test_mosi_in_the_form_of_cmus_sdk(tmp_path):
    scores = np.array([[1.2], [-0.4]], np.float32)
    corpora_files.sequence(
        tmp_path / "CMU_MOSI_Opinion_Labels.csd",
        "Opinion Segment Labels",
        dict.fromkeys(corpora_files.MOSI_VIDEOS, (scores, corpora_files.SEGMENTS)),
    )
    said = tmp_path / "Raw/Transcript/Segmented/03bSnISJMiM.annotprocessed"
    said.parent.mkdir(parents=True)
    said.write_text("1_DELIM_SO GOOD\n2_DELIM_OR BAD\n")
    corpora_files.clip(tmp_path / "Raw/Video/Segmented/03bSnISJMiM_2.mp4")
    (tmp_path / "splits.json").write_text(json.dumps(corpora_files.FOLDS))
    first, second = listed("mosi", tmp_path).utterances[:2]
    assert (first.name, first.text, first.media, first.absent) == (
        "03bSnISJMiM_1", "SO GOOD", None, "no clip of this segment")  # fmt: skip
    assert (second.text, second.clip, second.window) == ("OR BAD", "Raw/Video/Segmented/03bSnISJMiM_2.mp4", None)
    assert second.labels["sentiment_score"] == pytest.approx(-0.4)
    (tmp_path / "splits.json").unlink()
    with pytest.raises(UserError, match=r"nothing says which video is in which split; bring the SDK's"):
        listed("mosi", tmp_path)


def test_mosei_has_emotions_that_hold_and_whole_videos(tmp_path):
    found = drawn("mosei", tmp_path)
    first, second, third = found.utterances[:3]
    assert (first.name, first.text, first.sentiment) == ("03bSnISJMiM_0", "So good!", "neutral")
    assert third.text == "so good"  # by the words: this video has no transcript
    assert first.labels["emotions"] == () and second.labels["emotions"] == ("happy", "surprise")
    assert second.labels["surprise"] == pytest.approx(0.6667)
    assert (second.window.start, second.window.end) == (1.0, 1.6) and second.source == "03bSnISJMiM"
    assert targets("mosei", found, "mosei", "emotions").tolist() == [[0] * 6, [1, 0, 0, 1, 0, 0]] * 3
    assert np.allclose(targets("mosei", found, "mosei", "sentiment"), [0, 1.6667] * 3)
    videos = corpora_files.FOLDS | {"train": []}
    lists = "\n".join(f"standard_{name}_fold = {names}" for name, names in videos.items())
    (tmp_path / "cmu_mosei_std_folds.py").write_text(lists)
    fewer = listed("mosei", tmp_path)
    assert len(fewer.utterances) == 4 and [note["item"] for note in fewer.ignored] == ["03bSnISJMiM"]


def test_a_sound_beside_a_clip_leaves_its_picture(tmp_path):
    corpora_files.mosi(tmp_path / "mosi")
    corpora_files.wav(tmp_path / "mosi/Raw/03bSnISJMiM/1.wav")  # its path comes after that of 1.mp4
    corpora_files.wav(tmp_path / "mosi/Audio/03bSnISJMiM/2.wav")
    first, second, third, *_ = listed("mosi", tmp_path / "mosi").utterances
    assert (first.clip, first.sound.name) == ("Raw/03bSnISJMiM/1.mp4", "1.wav")
    assert (second.clip, second.sound.name, third.sound) == ("Raw/03bSnISJMiM/2.mp4", "2.wav", None)
    corpora_files.mosei(tmp_path / "mosei")
    video = next(path for path in sorted((tmp_path / "mosei").rglob("*.mp4")))
    corpora_files.wav(video.with_suffix(".wav"))
    windows = [one for one in listed("mosei", tmp_path / "mosei").utterances if one.media == video]
    assert windows and all(one.window and one.sound is None for one in windows)  # cut out of the video
    corpora_files.emorynlp(tmp_path / "emorynlp")
    corpora_files.wav(tmp_path / "emorynlp/emorynlp_train_splits/sea1_ep1_sc1_utt1.wav")
    corpora_files.wav(tmp_path / "emorynlp/emorynlp_train_splits/sea1_ep1_sc1_utt2.wav")
    first, second, *_ = listed("emorynlp", tmp_path / "emorynlp").utterances
    assert (first.media.suffix, first.sound.suffix) == (".mp4", ".wav")
    assert (second.media.suffix, second.sound) == (".wav", None)


def test_cremad_has_the_raters_votes_as_soft_labels(tmp_path):
    found = drawn("cremad", tmp_path)
    by_name = {one.name: one for one in found.utterances}
    angry, sad = by_name["1001_IEO_ANG_HI"], by_name["1001_IEO_SAD_HI"]
    assert (angry.emotion, angry.text, angry.intensity) == ("angry", "It's eleven o'clock.", "high")
    assert angry.labels["votes"] == angry.labels["votes_face"] == {"angry": 7.0, "neutral": 3.0}
    assert angry.clip.endswith(".mp4") and angry.sound.suffix == ".wav"
    assert sad.clip.endswith(".wav") and sad.sound is None
    space = labels.label_space("cremad_votes").tasks["emotion"]
    shares = space.distributions(extraction.label_rows("cremad", found))
    assert shares is not None and np.allclose(shares.sum(1), 1) and np.isclose(shares.max(), 1)
    assert {one.name[:4]: one.split for one in found.utterances} == {
        "1001": "test", "1002": "dev", "1003": "train", "1004": "train", "1005": "train"}  # fmt: skip


def test_cremads_ratings_are_counted_where_they_are_not_tabulated(tmp_path):
    corpora_files.cremad(tmp_path)
    (tmp_path / "processedResults/tabulatedVotes.csv").unlink()
    rows = [
        ("1001_IEO_ANG_HI", query, answer) for query, answer in [("3", "A"), ("3", "S"), ("3", "A"), ("1", "N")]
    ]
    cells = [{"clipName": name, "queryType": query, "respEmo": answer} for name, query, answer in rows]
    corpora_files.table(tmp_path / "finishedResponses.csv", cells)
    found = {one.name: one for one in listed("cremad", tmp_path).utterances}["1001_IEO_ANG_HI"]
    assert found.labels == {
        "votes": {"angry": 2.0, "sad": 1.0}, "votes_voice": {"neutral": 1.0}, "votes_face": None,
        "perceived": "angry"}  # fmt: skip
    (tmp_path / "finishedResponses.csv").unlink()
    assert "no soft labels" in listed("cremad", tmp_path).decided[0]["reason"]


def test_emodb_names_say_everything(tmp_path):
    found = drawn("emodb", tmp_path)
    by_name = {one.name: one for one in found.utterances}
    assert (by_name["03a01Fa"].emotion, by_name["03a01La"].emotion) == ("happy", "bored")
    assert by_name["16a01Aa"].text == "Der Lappen liegt auf dem Eisschrank."
    splits = {one.speaker[-2:]: one.split for one in found.utterances}
    assert [name for name, split in splits.items() if split == "test"] == ["03", "12"]
    assert [name for name, split in splits.items() if split == "dev"] == ["08", "13"]
    rows = [{"speaker": speaker, "test_fold": str(index // 2 + 1)} for index, speaker in enumerate(sorted(splits))]
    corpora_files.table(tmp_path / "folds.csv", rows)
    splits = {one.speaker[-2:]: one.split for one in listed("emodb", tmp_path).utterances}
    assert [name for name, split in splits.items() if split == "test"] == ["03", "08"]
    corpora_files.table(tmp_path / "folds.csv", rows[1:])
    with pytest.raises(UserError, match=r"folds\.csv: has no row of speaker 03; write one, with its fold"):
        listed("emodb", tmp_path)
    corpora_files.table(tmp_path / "folds.csv", [*rows[:-1], rows[-1] | {"test_fold": "6"}])
    with pytest.raises(UserError, match=r"folds\.csv line 11: test_fold = '6': write .* a fold, from 1 to 5"):
        listed("emodb", tmp_path)
    for fold, numbers, empty in ((2, "2323232323", "train"), (4, "1234123412", "dev"), (4, "1235123512", "test")):
        cells = [row | {"test_fold": number} for row, number in zip(rows, numbers, strict=True)]
        corpora_files.table(tmp_path / "folds.csv", cells)
        with pytest.raises(UserError, match=rf"folds\.csv: leaves {empty} without any speaker if fold {fold} is"):
            listed("emodb", tmp_path, fold=fold)


def test_emorynlps_two_forms_are_one_corpus(tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "csv").mkdir()
    found = drawn("emorynlp", tmp_path / "json").utterances
    corpora_files.emorynlp_csv(tmp_path / "csv")
    rows = listed("emorynlp", tmp_path / "csv").utterances
    words = [
        [(one.name, one.split, one.dialogue, one.speaker, one.text, one.emotion) for one in two]
        for two in (found, rows)
    ]
    assert words[0] == words[1] and len(found) == 24
    assert words[0][1] == ("s01_e01_c01_u002", "train", "s01_e01_c01", "Joey Tribbiani", "C'mon!", "joyful")
    assert (
        found[0].clip == "emorynlp_train_splits/sea1_ep1_sc1_utt1.mp4" and found[1].absent == "no clip of this name"
    )


@pytest.mark.parametrize("corpus", ["mosi", "mosei", "cremad", "emodb", "emorynlp"])
def test_an_empty_folder_is_refused_with_the_name_of_a_file(tmp_path, corpus):
    with pytest.raises(UserError, match=r"(no recording named like|holds neither) .*; see docs/data.md"):
        listed(corpus, tmp_path)


MMSA = "video_id,clip_id,text,label,mode\n"
BROKEN = [
    ("mosi", "label.csv", "video_id,clip_id\na,1\n", "label.csv: lacks the columns text, label"),
    ("mosi", "label.csv", MMSA + "a,x,t,1,train\n", "line 2: clip_id = 'x': is no number"),
    ("mosi", "label.csv", MMSA + "a,1,t,9,train\n", "label = '9': write a number from -3 to 3"),
    ("mosi", "label.csv", MMSA + "a,1,t,1,eval\n", "mode = 'eval': write train, valid or"),
    ("mosei", "CMU_MOSEI_Labels.csd", "no HDF5", "Labels.csd: is no computational sequence of CMU's SDK"),
    ("cremad", "processedResults/tabulatedVotes.csv", ",A\n1,2\n", "lacks the columns d, f, h, n, s, filename"),
    ("emorynlp", "json/emotion-detection-trn.json", '{"episodes": 3}', "is not EmoryNLP's JSON of episodes"),
    ("emorynlp", "json/emotion-detection-dev.json", "{", "is not EmoryNLP's JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("corpus", "name", "content", "words"), BROKEN)
def test_a_broken_file_gets_one_line(tmp_path, corpus, name, content, words):
    corpora_files.FILES[corpus][0](tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(words)) as refused:
        listed(corpus, tmp_path)
    assert "\n" not in str(refused.value)

"""Every corpus of the registry keeps the contract; and what is particular to each."""

from collections import Counter
from pathlib import Path

import corpora_files
import numpy as np
import pandas as pd
import pytest

from merc.corpora import ravdess, registry
from merc.corpora.forms import table
from merc.data.records import labels
from merc.data.records.manifest import SPLITS
from merc.media import clip_reader
from merc.media.extraction import extraction
from merc.runtime.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"
# no speaker of one split is in another
SPEAKER_INDEPENDENT = {"iemocap", "ravdess", "cremad", "emodb", "mosi", "mosei"}
# label spaces whose tasks other corpora have no labels of
OWN_SPACES = {
    "mosi": {"mosi", "mosei"},
    "mosi2": {"mosi", "mosei", "meld", "sample", "folder"},
    "mosei": {"mosei", "mosi"},
    "cremad_votes": {"cremad"},
}
LIMITS = clip_reader.Limits(0.1, 15.0)


def listed(corpus: str, place: Path, **changes):
    options = corpora_files.FILES[corpus][1] | changes
    reader = registry.reader_module(corpus)
    return reader.read(place, place / "scratch", reader.Options.model_validate(options))


@pytest.fixture(params=sorted(registry.READERS))
def listing(request, tmp_path):
    corpora_files.FILES[request.param][0](tmp_path)
    return request.param, listed(request.param, tmp_path), tmp_path


def test_every_corpus_has_files_here_and_every_label_space_knows_its_words(listing):
    assert set(corpora_files.FILES) == set(registry.READERS)
    corpus, listed_corpus, _ = listing
    rows = extraction.label_rows(corpus, listed_corpus)
    for name in labels.BUILT_IN:
        labelled = labels.label_space(name).labelled(rows)
        expected = OWN_SPACES.get(name, set(registry.READERS) - {"mosi", "mosei"})
        assert (corpus in expected) == any(
            mask.any() for task, mask in labelled.items() if task == "emotion" or name in OWN_SPACES
        ), name


def test_the_contract(listing):
    corpus, listed_corpus, place = listing
    ids = Counter((utterance.split, utterance.name) for utterance in listed_corpus.utterances)
    assert ids and max(ids.values()) == 1
    assert {utterance.split for utterance in listed_corpus.utterances} == set(SPLITS)
    places = [SPLITS.index(utterance.split) for utterance in listed_corpus.utterances]
    assert places == sorted(places)
    runs = [(utterance.split, utterance.dialogue) for utterance in listed_corpus.utterances]
    changes = [run for before, run in zip([None, *runs], runs, strict=False) if run != before]
    assert len(changes) == len(set(changes)), "a dialogue is not contiguous"
    group_splits = {(utterance.group, utterance.split) for utterance in listed_corpus.utterances}
    assert len(group_splits) == len({group for group, _ in group_splits}), "a group is in two splits"
    if corpus in SPEAKER_INDEPENDENT:
        speaker_splits = {(utterance.speaker, utterance.split) for utterance in listed_corpus.utterances}
        assert len(speaker_splits) == len({speaker for speaker, _ in speaker_splits})
    assert all(
        utterance.clip is None or (place / utterance.clip).is_file() or corpus == "iemocap"
        for utterance in listed_corpus.utterances
    )
    assert listed_corpus.utterances == listed(corpus, place).utterances


def test_what_is_listed_can_be_read(listing):
    _, found, _ = listing
    for utterance in [one for one in found.utterances if one.media][:6]:
        sound, _ = clip_reader.read_clip(
            utterance.sound or utterance.media,
            LIMITS,
            ticks=False,
            window=None if utterance.sound else utterance.window,
        )
        assert sound.samples is not None and np.abs(sound.samples).max() > 1000


def test_iemocap_reads_labels_words_times_and_halves(tmp_path):
    corpora_files.iemocap(tmp_path)
    found = listed("iemocap", tmp_path).utterances
    first = [utterance for utterance in found if utterance.dialogue == "Ses01M_impro01"]
    assert [utterance.emotion for utterance in first] == ["neutral", "frustrated", None, "excited"]
    assert [utterance.text for utterance in first] == ["Excuse me.", "Do you have your forms?", "Yeah.", "Great’s."]
    assert [utterance.speaker for utterance in first] == ["Session1-F", "Session1-M", "Session1-F", "Session1-M"]
    # the one who wears the markers (M, by the dialogue's name) is on the left, which is dark
    brightness = []
    for utterance in first:
        _, pictures = clip_reader.read_clip(utterance.media, LIMITS, ticks=True, window=utterance.window)
        brightness.append(pictures.middle.mean())
        assert pictures.middle.shape == (96, 80, 3)
        assert len(pictures.ticks) == 9 and pictures.ticks[0].shape == (96, 80, 3)
    assert np.array_equal(np.array(brightness) > 128, [True, False, True, False])


@pytest.mark.parametrize(("test", "dev"), [(5, 4), (1, 2), (3, 5)])
def test_iemocap_leaves_one_session_out(tmp_path, test, dev):
    corpora_files.iemocap(tmp_path)
    found = listed("iemocap", tmp_path, test_session=test, dev_session=dev).utterances
    sessions = {
        split: {utterance.dialogue[3:5] for utterance in found if utterance.split == split} for split in SPLITS
    }
    assert sessions["test"] == {f"0{test}"} and sessions["dev"] == {f"0{dev}"} and len(sessions["train"]) == 3


def test_iemocap_reports_what_it_passes_over(tmp_path):
    corpora_files.iemocap(tmp_path)
    root = tmp_path / "IEMOCAP_full_release/Session2/dialog"
    rated, said = (next((root / place).glob("*.txt")) for place in ("EmoEvaluation", "transcriptions"))
    lines = rated.read_text().splitlines()
    rated.write_text("\n".join([*lines, lines[2], "[broken"]))
    said.write_text(
        said.read_text(encoding="cp1252") + f"\n{rated.stem}_F999 [001.0-002.0]: Hm.", encoding="cp1252"
    )
    found = listed("iemocap", tmp_path)
    reasons = [note["reason"] for note in found.ignored]
    assert len(found.utterances) == 20
    assert sorted(reason.split(":")[0] for reason in reasons) == sorted(
        [f"{rated.name} line {len(lines) + 1}", f"line {len(lines) + 2}", "transcribed, and not in EmoEvaluation"]
    )


def test_iemocap_spaces_have_the_fields_classes(tmp_path):
    corpora_files.iemocap(tmp_path)
    rows = pd.DataFrame(
        [
            {"corpus": "iemocap", "emotion": utterance.emotion}
            for utterance in listed("iemocap", tmp_path).utterances[:4]
        ]
    )
    six, four = labels.label_space("iemocap6"), labels.label_space("iemocap4")
    named = [
        [space.outputs["emotion"][index] if index >= 0 else None for index in space.targets(rows, "emotion")]
        for space in (six, four)
    ]
    assert named == [["neutral", "frustrated", None, "excited"], ["neutral", None, None, "happy"]]


def test_ravdess_names_say_everything(tmp_path):
    for name in ("03-01-06-01-02-01-12.wav", "01-01-05-02-01-02-01.wav", "03-02-03-01-01-01-02.flac"):
        corpora_files.wav(tmp_path / "Actor" / name)
    corpora_files.ravdess(tmp_path, actors=(3,), emotions=(1,))
    found = {utterance.name: utterance for utterance in listed("ravdess", tmp_path, channel="both").utterances}
    names = ("03-01-06-01-02-01-12", "01-01-05-02-01-02-01", "03-02-03-01-01-01-02")
    fear, anger, song = (found[name] for name in names)
    assert (fear.emotion, fear.intensity, fear.text, fear.speaker) == (
        "fearful", "normal", "Dogs are sitting by the door.", "actor-12")  # fmt: skip
    assert (anger.emotion, anger.intensity, anger.text) == ("angry", "strong", "Kids are talking by the door.")
    assert song.emotion == "happy"
    assert "03-02-03-01-01-01-02" not in {utterance.name for utterance in listed("ravdess", tmp_path).utterances}


def test_ravdess_takes_one_recording_of_a_performance(tmp_path):
    corpora_files.ravdess(tmp_path, actors=(1, 2), emotions=(1,))
    corpora_files.clip(tmp_path / "Video/Actor_01/01-01-01-01-02-01-01.mp4")
    corpora_files.clip(tmp_path / "Video/Actor_01/02-01-01-01-02-01-01.mp4")
    found = listed("ravdess", tmp_path)
    assert sorted(utterance.name for utterance in found.utterances) == [
        "01-01-01-01-02-01-01",
        "03-01-01-01-01-01-02",
    ]
    assert sorted(note["item"] for note in found.ignored) == [
        "02-01-01-01-02-01-01.mp4", "03-01-01-01-02-01-01.wav"]  # fmt: skip


def test_ravdess_folds_and_actors(tmp_path):
    corpora_files.ravdess(tmp_path, emotions=(1,))
    found = listed("ravdess", tmp_path, fold=6).utterances
    actors = {
        split: {int(utterance.name[-2:]) for utterance in found if utterance.split == split} for split in SPLITS
    }
    assert actors["test"] == {5, 11, 17, 23} and actors["dev"] == {6, 12, 18, 24}  # dev: fold 1
    found = listed("ravdess", tmp_path, fold=0, test_actors=[1, 2], dev_actors=[3]).utterances
    assert {int(utterance.name[-2:]) for utterance in found if utterance.split == "test"} == {1, 2}
    for wrong in ({"test_actors": [1], "dev_actors": [1]}, {"test_actors": [25], "dev_actors": []}):
        with pytest.raises(UserError, match="actor"):
            listed("ravdess", tmp_path, fold=0, **wrong)
    rows = [{"actor": str(actor), "test_fold": str(actor % 3 + 1)} for actor in range(1, 25)]
    corpora_files.table(tmp_path / "folds.csv", rows)
    with pytest.raises(UserError, match=r"folds\.csv: leaves dev without any actor if fold 4 is test"):
        listed("ravdess", tmp_path, fold=4)
    (tmp_path / "folds.csv").write_text("actor,test_fold\n1,1,2\n")
    with pytest.raises(UserError, match=r"folds\.csv line 2: 3 cells, and the header has 2; put cells with commas"):
        listed("ravdess", tmp_path, fold=4)
    (tmp_path / "folds.csv").unlink()
    with pytest.raises(UserError, match=r"folds\.csv: not there"):
        listed("ravdess", tmp_path)


def test_an_own_table_cuts_recordings_and_keeps_order(tmp_path):
    corpora_files.own(tmp_path)
    found = listed("folder", tmp_path).utterances
    assert [(utterance.dialogue, utterance.name) for utterance in found] == [
        ("a", "hello"),
        ("a", "long_3"),
        ("b", "long_4"),
        ("c", "long_5"),
    ]
    sound, _ = clip_reader.read_clip(found[1].media, LIMITS, ticks=False, window=found[1].window)
    assert len(sound.samples) == round(0.7 * 16000)
    assert found[2].emotion is None and found[1].emotion == "angry"


WRONG = [
    ({"split": "valid"}, "line 2: split = 'valid': write one of train, dev, test"),
    ({"clip": "word " * 80}, "line 2: clip = 'word .*: File name too long; bring the file or empty the cell"),
    ({"clip": "nowhere.mp4"}, "line 2: clip = 'nowhere.mp4': .*is not there; bring the file or empty the cell"),
    ({"clip": "../secret.mp4"}, "line 2: clip = '../secret.mp4': write a path below"),
    ({"clip": "long.wav", "start": "1", "end": "0.5"}, "line 2: end = '0.5': is not after start = 1"),
    ({"clip": "long.wav", "start": "0:01", "end": "2"}, "line 2: start = '0:01': write seconds"),
    ({"dialogue": "b"}, "dialogue = 'b': is in train too; keep it in one split"),
    ({"utterance": "a/b"}, "line 2: utterance = 'a/b'"),
    ({"utterance": "long_3"}, "line 3: clip = 'long.wav': the utterance long_3 stands in line 2 already"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_a_mistake_in_an_own_table_gets_row_value_and_remedy(tmp_path, change, words):
    corpora_files.own(tmp_path)
    cells = [row.cells for row in table.read_table(tmp_path / "utterances.csv").rows]
    cells[0] |= change
    corpora_files.table(tmp_path / "utterances.csv", cells, tuple(dict.fromkeys([*cells[0]])))
    with pytest.raises(UserError, match=words):
        listed("folder", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no rows"),
        ("split,clip\n", "has no rows"),
        ("split,mood\ntrain,joy\n", "lacks a column text or clip; write what is said"),
        ("text,mood\nHi.,joy\n", r"lacks the column split; write it .*, or set data\.folder\.split to 'by group'"),
        ("split,text,text\ntrain,a,b\n", "column 'text' stands twice"),
        ("split,text,My mood\ntrain,a,b\n", "column 'my mood' cannot hold labels; write small letters"),
        ("split,text,words\ntrain,a,b\n", "column 'words' cannot hold labels"),
        ("split,text,sentiment\ntrain,a,1.5\n", "line 2: sentiment = '1.5': a number, .* say sentiment_number"),
        ("split,text,turn\ntrain,a,b\n", "line 2: turn = 'b': write the number of the turn"),
    ],
)
def test_an_own_table_that_is_none(tmp_path, content, words):
    (tmp_path / "utterances.csv").write_text(content)
    with pytest.raises(UserError, match=words):
        listed("folder", tmp_path)
    (tmp_path / "utterances.csv").unlink()
    with pytest.raises(UserError, match="not there; write it with a column text or clip"):
        listed("folder", tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not (SHARED / "ravdess").is_dir(), reason="../shared/data/ravdess is absent")
def test_real_ravdess_is_complete():
    found = listed("ravdess", SHARED / "ravdess").utterances
    assert len(found) == 1440
    assert Counter(utterance.emotion for utterance in found) == {
        name: 96 if name == "neutral" else 192 for name in ravdess.EMOTIONS.values()
    }
    assert {
        len({utterance.speaker for utterance in found if utterance.split == split}) for split in ("dev", "test")
    } == {4}
    seen = [
        {
            utterance.speaker
            for utterance in listed("ravdess", SHARED / "ravdess", fold=fold).utterances
            if utterance.split == "test"
        }
        for fold in range(1, 7)
    ]
    assert len(set().union(*seen)) == sum(map(len, seen)) == 24


@pytest.mark.real
@pytest.mark.skipif(not Path("data/raw/iemocap").is_dir(), reason="data/raw/iemocap is absent")
def test_real_iemocap_has_the_published_counts():
    found = listed("iemocap", Path("data/raw/iemocap")).utterances
    assert len(found) == 10039
    six = Counter(utterance.emotion for utterance in found if utterance.emotion in labels.IEMOCAP_EMOTIONS)
    assert six == {"happy": 595, "sad": 1084, "neutral": 1708, "angry": 1103, "excited": 1041, "frustrated": 1849}

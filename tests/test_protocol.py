"""Every planted protocol error is refused by name; slices and overlaps are found by code."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from finished import manifest

from merc.corpora import folder
from merc.corpora.meld_layout import utterances
from merc.data.batches.dataset import Split
from merc.data.batches.streams import FeatureStream
from merc.data.records import manifest as manifests
from merc.data.records.labels import label_space
from merc.data.records.listing import Utterance
from merc.evaluation import protocol, selection_gap, slices
from merc.runtime import results
from merc.runtime.errors import UserError

MELD = Path(__file__).resolve().parents[2] / "shared/data/meld"


@pytest.fixture
def splits():
    return {split: manifest(split, 4, 5, number) for number, split in enumerate(manifests.SPLITS)}


def test_separate_splits_pass(splits):
    protocol.check_splits(splits)


def test_a_group_in_two_splits_is_refused(splits):
    splits["test"].loc[3, "group"] = splits["train"].loc[0, "group"]
    with pytest.raises(UserError, match="group 'sample/train/0' is in both train and test"):
        protocol.check_splits(splits)


def named(rows, corpus):
    """The rows as extract names them for a corpus whose groups are <corpus>/<split>/<dialogue>, with times."""
    rows = rows.assign(corpus=corpus, group=f"{corpus}/" + rows["split"] + "/" + rows["dialogue"], wav=None)
    rows["source"] = "season 1 episode " + rows["dialogue"]
    return rows.assign(start=rows["turn"] + 0.5, end=rows["turn"] + 1.5)


@pytest.mark.parametrize("corpus", ["sample", "meld", "folder"])
@pytest.mark.parametrize("kept", [slice(None), slice(1, 4)])
def test_a_dialogue_in_two_splits_is_refused_under_another_number_and_in_part(splits, corpus, kept):
    splits = {split: named(rows, corpus) for split, rows in splits.items()}
    protocol.check_splits(splits)  # the same numbers and times in every split, other words
    test, copy = splits["test"], splits["train"].query("dialogue == '2'")[kept]
    copy = copy.assign(split="test", dialogue="99", group=f"{corpus}/test/99", turn=range(len(copy)))
    splits["test"] = pd.concat([test, copy], ignore_index=True)
    with pytest.raises(
        UserError, match=f"dialogue '{corpus}/train/2' of train and '{corpus}/test/99' of test are one"
    ):
        protocol.check_splits(splits)
    splits["test"].loc[splits["test"].index[-1], "text"] = "Something else."
    protocol.check_splits(splits)  # a scene that was cut twice is reported (merc/evaluation/slices.py)


def test_one_clip_in_two_splits_is_refused_and_another_stretch_of_it_is_not(splits):
    for split in ("train", "test"):
        splits[split].loc[5, ["clip", "text"]] = "talk/one.mp4", f"as {split} writes it down"
    with pytest.raises(UserError, match=r"sample: talk/one\.mp4 is in both train and test"):
        protocol.check_splits(splits)
    splits = {split: rows.astype({"start": float, "end": float}) for split, rows in splits.items()}
    for split, start in (("train", 0.0), ("test", 2.0)):
        splits[split].loc[5, ["start", "end"]] = start, start + 2.0
    protocol.check_splits(splits)


@pytest.mark.parametrize("order", [("train", "test"), ("test", "train")])
def test_a_whole_clip_and_a_stretch_of_it_in_two_splits_are_refused(splits, order):
    splits = {split: rows.astype({"start": float, "end": float}) for split, rows in splits.items()}
    for split, times in zip(order, ([np.nan, np.nan], [1.0, 2.0]), strict=True):
        splits[split].loc[5, ["clip", "text"]] = "talk/one.mp4", f"as {split} writes it down"
        splits[split].loc[5, ["start", "end"]] = times
    with pytest.raises(UserError, match=r"sample: talk/one\.mp4 is in both train and test \(1 in all\)"):
        protocol.check_splits(splits)


def test_stretches_of_a_users_own_recording_that_overlap_are_not_in_the_clean_test(tmp_path):
    (tmp_path / "talk.wav").write_bytes(b"sound")
    lines = ["split,clip,start,end,text", "train,talk.wav,0,5,One.", "dev,talk.wav,20,22,Two.",
             "test,talk.wav,4,6,Three.", "test,talk.wav,8,9,Four."]  # fmt: skip
    (tmp_path / "utterances.csv").write_text("\n".join(lines))
    listing = folder.read(tmp_path, tmp_path, folder.Options())
    columns = {"corpus": "folder", "wav": None, "turn": 0}
    statuses = {f"{modality}_status": "ok" for modality in manifests.MODALITIES}
    names = [field.name for field in dataclasses.fields(Utterance)]
    rows = pd.DataFrame(
        [{name: getattr(one, name) for name in names} | columns | statuses for one in listing.utterances]
    )
    splits = {split: rows[rows["split"] == split].reset_index(drop=True) for split in manifests.SPLITS}
    protocol.check_splits(splits)
    found = slices.slice_masks(splits["test"], pd.concat([splits["train"], splits["dev"]]))
    assert found["clean test"].tolist() == [False, True]


def test_the_same_recording_in_two_splits_is_refused(splits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split, row in (("train", 4), ("test", 7)):
        splits[split].loc[row, ["text", "wav"]] = "Fine.", f"audio/{split}.wav"
        file = manifests.split_folder(split, "sample") / f"audio/{split}.wav"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"sound")
    with pytest.raises(UserError, match=r"audio/train.wav and .*audio/test.wav: the same recording in two splits"):
        protocol.check_splits(splits)
    file.write_bytes(b"other")
    protocol.check_splits(splits)  # the same text alone is no crime


def test_a_thousand_takes_of_one_sentence_are_read_once_each(splits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        splits[split] = manifest(split, 300, 1, 0).assign(text=None)
        folder = manifests.split_folder(split, "sample") / "audio"
        folder.mkdir(parents=True)
        for number, name in enumerate(splits[split]["wav"].dropna()):
            (folder.parent / name).write_bytes(f"{split} {number % 7}".encode() * (1 + (split == "train")))
    read = []
    monkeypatch.setattr(protocol, "_digest", lambda path: read.append(path) or str(path))
    protocol.check_splits(splits)
    assert read == []  # other sizes
    for file in manifests.split_folder("train", "sample").glob("audio/*"):
        file.write_bytes(b"test 10"[:6])
    protocol.check_splits(splits)
    assert len(read) == len(set(read)) == 2 * 299


def split_with(values, targets):
    """A split of one stream with one step an utterance."""
    size = len(values)
    stream = FeatureStream.of(torch.from_numpy(values), torch.arange(size), torch.ones(size, dtype=torch.long))
    nothing = torch.zeros(0)
    tasks = label_space("meld").tasks
    return Split(
        pd.DataFrame(), ("text",), {"text/made": stream}, tasks, {"emotion": targets}, {}, nothing, nothing, nothing
    )


def test_a_dimension_that_determines_the_label_is_refused():
    generator = np.random.default_rng(0)
    values, targets = generator.normal(size=(150, 5)).astype(np.float32), generator.integers(0, 4, 150)
    protocol.check_features(split_with(values, torch.from_numpy(targets)))
    values[:, 3] = (targets * 7) % 4 + generator.random(150) * 0.5  # the label in disguise
    with pytest.raises(UserError, match="text/made: dimension 3 alone determines the emotion"):
        protocol.check_features(split_with(values, torch.from_numpy(targets)))


def test_a_constant_dimension_tells_nothing():
    values = np.zeros((150, 2), np.float32)
    protocol.check_features(split_with(values, torch.arange(150) // 50))


def test_another_label_order_is_refused(tmp_path):
    protocol.check_label_orders(
        tmp_path, {"emotion": ("joy", "fear")}, {"emotion": ("joy", "fear"), "sentiment": ("up",)}
    )
    with pytest.raises(UserError, match="its emotion labels are fear, joy"):
        protocol.check_label_orders(tmp_path, {"emotion": ("fear", "joy")}, {"emotion": ("joy", "fear")})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"selected_by": "test macro_f1"}, "'test macro_f1' names test"),
        ({"epochs": [{"epoch": 1, "dev": 0.5, "test_f1": 0.6, "file": "a"}], "best": 1}, "'test_f1' names test"),
        ({"best": 1}, "epoch 1 was chosen, but 2 is best on dev"),
        ({"best": 9}, "epoch 9 was chosen, but 2 is best on dev"),
        ({"epochs": [{"epoch": 1}]}, "is no log of kept epochs"),
    ],
)
def test_a_selection_log_that_did_not_choose_on_dev_is_refused(tmp_path, changes, words):
    epochs = [{"epoch": n, "dev": [0.4, 0.6, 0.6][n - 1], "file": f"epoch-{n}.safetensors"} for n in (1, 2, 3)]
    log = {"selected_by": "dev macro_f1 of the latest epoch", "best": 2, "epochs": epochs}
    folder = tmp_path / "train/seed-1"
    results.write_json(folder / selection_gap.LOG_FILE, log)
    assert list(selection_gap.kept_epochs(folder)) == ["epoch:1", "epoch:2", "epoch:3"]
    results.write_json(folder / selection_gap.LOG_FILE, log | changes)
    with pytest.raises(UserError, match=words):
        selection_gap.kept_epochs(folder)
    assert selection_gap.kept_epochs(tmp_path) == {}


def test_near_duplicates_are_found_and_short_texts_are_not():
    seen = pd.Series(["You never told me about the red car!", "Oh my God!", None])
    texts = pd.Series(["you never told me about the red car", "Oh my God!", "Something else was said here", None])
    assert slices.near_duplicates(texts, seen).tolist() == [True, False, False, False]
    assert slices.near_duplicates(texts, seen[:0]).tolist() == [False] * 4


@pytest.mark.parametrize("pairs", [1, 50, 10**6])
def test_near_duplicates_are_those_of_all_pairs(pairs, monkeypatch):
    monkeypatch.setattr(slices, "BLOCK_PAIRS", pairs)
    random = np.random.default_rng(3)
    texts, seen = (
        pd.Series([" ".join(f"w{number}" for number in random.zipf(1.6, size) % 40) for size in sizes])
        for sizes in (random.integers(0, 14, 300), random.integers(0, 14, 400))
    )
    words, seen_words = ([set(text.split()) for text in some] for some in (texts, seen))
    expected = [len(a) >= 4 and any(len(a & b) >= 0.8 * len(a | b) for b in seen_words) for a in words]
    assert 0.1 < np.mean(expected) < 0.9
    assert slices.near_duplicates(texts, seen).tolist() == expected


def test_overlaps_are_those_of_all_pairs():
    random = np.random.default_rng(4)

    def drawn(size: int) -> pd.DataFrame:
        start = random.integers(0, 90, size).astype(float)
        columns = {"corpus": random.choice(["a", "b"], size), "source": random.choice(["x", "y"], size)}
        return pd.DataFrame({**columns, "start": start, "end": start + random.integers(1, 6, size)})

    test, seen = drawn(60), drawn(25)
    expected = [
        any(
            a.corpus == b.corpus and a.source == b.source and a.start < b.end and b.start < a.end
            for b in seen.itertuples()
        )
        for a in test.itertuples()
    ]
    assert 0.1 < np.mean(expected) < 0.9
    assert slices.overlapping(test, seen).tolist() == expected


def test_overlapping_stretches_of_one_recording_are_found():
    row = {"corpus": "c", "source": "the first episode"}
    test = pd.DataFrame([row | {"start": 1.0, "end": 2.0}, row | {"start": 3.0, "end": 4.0}])
    seen = pd.DataFrame([row | {"start": 1.5, "end": 3.0}, row | {"start": None, "end": None}])
    assert slices.overlapping(test, seen).tolist() == [True, False]


def test_slices_part_the_test_split(splits):
    test, seen = splits["test"], pd.concat([splits["train"], splits["dev"]], ignore_index=True)
    test.loc[:, "speaker"] = ["new", *test["speaker"][1:]]
    found = slices.slice_masks(test, seen)
    assert found["all"].all()
    assert found["speaker: unseen"].tolist() == [True] + [False] * 19
    assert found["audio: missing"].sum() == 1
    for kind in ("speaker", "emotion", "turn", "length"):
        parts = [mask for name, mask in found.items() if name.startswith(kind)]
        assert (np.sum(parts, axis=0) == 1).all(), kind
    names = test.loc[found["emotion: the speaker's shifts"]].index
    for row in names:
        before = test[:row].query("dialogue == @test.dialogue[@row] and speaker == @test.speaker[@row]")
        assert before["emotion"].iloc[-1] != test["emotion"][row]


@pytest.mark.real
@pytest.mark.skipif(not MELD.is_dir(), reason="no ../shared/data")
def test_melds_own_overlaps_are_found(tmp_path):
    """Scenes that MELD's annotators cut twice, found by hand: test dialogues 85 and 155 against train 12 and 51."""
    listing = utterances.read_layout("meld", MELD, tmp_path, "evidence")
    rows = pd.DataFrame([vars(one) | {"corpus": "meld"} for one in listing.utterances])
    test, train = (rows[rows["split"] == split].reset_index(drop=True) for split in ("test", "train"))
    assert (len(train), len(test)) == (9989, 2610)
    protocol.check_splits({split: rows[rows["split"] == split].assign(wav=None) for split in manifests.SPLITS})
    over = set(test["name"][slices.overlapping(test, train)])
    assert {f"dia85_utt{number}" for number in range(6)} | {"dia155_utt0", "dia155_utt1"} <= over
    assert len(over) < 0.02 * len(test)
    texts = test.loc[slices.near_duplicates(test["text"], train["text"])]
    verbatim = test[test["text"].isin(train["text"]) & (test["text"].str.split().str.len() >= 5)]
    assert len(verbatim) >= 3
    assert set(verbatim["name"]) <= set(texts["name"]) and len(texts) < 0.05 * len(test)

"""Imported features beside a corpus's rows: files, parts and splits found, counted, packed by the encode stage."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from merc.data.records import manifest, packs
from merc.encoders.base import factory
from merc.encoders.imported import coverage, importing
from merc.runtime.errors import UserError
from stages import encode

ROOT = Path(__file__).resolve().parent.parent
MELD = ROOT.parent / "shared" / "data" / "meld"
FOLDER = Path("data/features/meld")
SPLITS = {"train": {0: [0, 1, 3], 1: [0]}, "dev": {0: [0, 1]}, "test": {0: [0], 2: [0, 1]}}  # utterance numbers


def manifest_of(split: str, dialogues: dict[int, list[int]], corpus: str = "meld") -> pd.DataFrame:
    rows = [(str(d), turn, f"dia{d}_utt{u}") for d, own in dialogues.items() for turn, u in enumerate(own)]
    table = pd.DataFrame(rows, columns=["dialogue", "turn", "utterance"]).reindex(columns=manifest.SCHEMA.names)
    table[["corpus", "split"]] = corpus, split
    for medium in manifest.MODALITIES:
        table[f"{medium}_status"], table[f"{medium}_reason"] = "missing", "data.meld.media is none"
    return table


@pytest.fixture
def rows(tmp_path, monkeypatch) -> dict[str, pd.DataFrame]:
    """Three small splits with colliding names, and a folder for features."""
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    return {split: manifest_of(split, dialogues) for split, dialogues in SPLITS.items()}


def names(rows: dict[str, pd.DataFrame], split: str) -> list[str]:
    return rows[split]["utterance"].tolist()


def vectors(rows, split: str, width: int = 3) -> dict[str, np.ndarray]:
    draw = np.random.default_rng([len(split), *split.encode()])
    return {name: draw.normal(size=(1, width)).astype(np.float32) for name in names(rows, split)}


def write_json(path: Path, entries) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: np.asarray(array).tolist() for name, array in entries.items()}))


def joined(rows, name="imported/x", modality="audio"):
    return importing.match_features("meld", modality, name, rows)


def agree(join, rows, expected) -> None:
    for split, own in expected.items():
        for name, array in zip(names(rows, split), join.splits[split].arrays, strict=True):
            assert np.array_equal(array, own[name]), (split, name)


LAYOUTS = {
    "x_train.json": "imported/x",
    "train_x.json": "imported/x",
    "x/train.json": "imported/x",
    "train_features/x.json": "imported/x",
    "train_features/x_.json": "imported/features",
    "deep/x-train.json": "imported/deep/x",
    "x.train.json": "imported/x.json",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_a_split_is_found_however_the_split_stands_in_its_path(rows, layout):
    expected = {split: vectors(rows, split) for split in rows}
    for split, word in {"train": "train", "dev": "val", "test": "test"}.items():
        write_json(FOLDER / layout.replace("train", word), expected[split])
    join = joined(rows, LAYOUTS[layout])
    agree(join, rows, expected)
    assert join.unknown() == {} and all(not one.missing for one in join.splits.values())


def test_the_published_layout_of_three_modalities(rows):
    expected = {m: {split: vectors(rows, split, width) for split in rows} for m, width in
                {"text": 5, "audio": 4, "visual": 3}.items()}  # fmt: skip
    for modality, own in expected.items():
        for split in rows:
            write_json(FOLDER / f"{split}_features/{modality}_features.json", own[split])
    for modality, own in expected.items():
        agree(joined(rows, f"imported/{modality}_features", "audio"), rows, own)
        agree(joined(rows, "imported/features", "vision" if modality == "visual" else modality), rows, own)
        agree(joined(rows, f"imported/features:{modality}_features", "text"), rows, own)


def test_one_file_whose_keys_name_the_splits(rows):
    expected = {split: vectors(rows, split) for split in rows}
    (FOLDER / "x.pkl").write_bytes(pickle.dumps([expected[split] for split in rows]))
    agree(joined(rows), rows, expected)


def test_one_name_for_two_splits_is_refused_and_for_one_is_not(rows):
    write_json(FOLDER / "x.json", vectors(rows, "train"))
    with pytest.raises(UserError, match=r"x\.json: dia0_utt0 is an utterance of train and of dev; say which split"):
        joined(rows)
    rows = {split: manifest_of(split, {d: [0, 1]}) for d, split in enumerate(rows)}
    expected = {split: vectors(rows, split) for split in rows}
    write_json(FOLDER / "x.json", {name: one for own in expected.values() for name, one in own.items()})
    agree(joined(rows), rows, expected)


@pytest.mark.parametrize("numbering", ["turns", "numbers", "padded"])
def test_a_list_a_dialogue_counted_through_all_splits(rows, numbering):
    """Train has the dialogues 0 and 1, dev 2, test 3 to 5, as MELD_features_raw.pkl does it."""
    expected = {split: vectors(rows, split) for split in rows}
    first, listed = {"train": 0, "dev": 2, "test": 3}, {}
    for split, dialogues in SPLITS.items():
        for dialogue, numbers in dialogues.items():
            own = [expected[split][f"dia{dialogue}_utt{number}"][0] for number in numbers]
            if numbering == "numbers":
                own = [own[numbers.index(n)] if n in numbers else np.zeros(3) for n in range(numbers[-1] + 1)]
            listed[first[split] + dialogue] = own + [np.zeros(3)] * (7 if numbering == "padded" else 0)
    (FOLDER / "x.pkl").write_bytes(pickle.dumps(({}, listed, ["words"])))
    join = joined(rows)
    agree(join, rows, expected)
    assert join.first == first


def test_a_dialogue_with_another_number_of_vectors_is_missing_and_says_so(rows):
    for split in rows:
        write_json(
            FOLDER / f"x_{split}.json", {"dia0": np.ones((2, 3)), "dia1": np.ones((1, 3)), "2": np.ones((2, 3))}
        )
    train = joined(rows).splits["train"]
    assert train.missing == dict.fromkeys(names(rows, "train")[:3], "dia0 has 2 vectors for 3 utterances")
    assert joined(rows).unknown() == {"train": ["dia2"], "dev": ["dia1", "dia2"], "test": ["dia1"]}


def test_what_is_missing_unknown_or_no_number_is_counted_and_listed(rows):
    train = vectors(rows, "train")
    train["dia0_utt1"][0] = [np.nan, np.inf, 1]
    train["dia0_utt3"][0] = np.nan
    del train["dia1_utt0"]
    write_json(
        FOLDER / "x_train.json", train | {"dia9_utt9": [[1, 2, 3]], "final_videos_testdia0_utt0.mp4": [[0, 0, 0]]}
    )
    write_json(FOLDER / "x_test.json", {"dia0_utt0": []})
    join = joined(rows)
    own = join.splits["train"]
    assert own.missing == {"dia0_utt3": "no number in its features", "dia1_utt0": "no key dia1_utt0 for train"}
    assert (own.nan, own.infinite) == (4, 1)
    assert np.array_equal(own.arrays[1], [[np.nan, np.nan, 1]], equal_nan=True)
    assert join.unknown() == {"train": ["dia9_utt9"]} and join.twins() == {"train": ["final_videos_testdia0_utt0"]}
    assert join.splits["dev"].missing == {name: f"no key {name} for dev" for name in names(rows, "dev")}
    assert join.splits["test"].missing["dia0_utt0"] == "empty in the file"


def test_the_twin_that_was_extracted_is_the_one_whose_features_count(rows):
    for split in rows:
        write_json(FOLDER / f"x_{split}.json", {"dia0_utt0.wav": [1], "final_videos_testdia0_utt0.wav": [2]})
    assert joined(rows).splits["test"].arrays[0].tolist() == [[1]]
    rows["test"]["clip"] = rows["test"]["clip"].astype(object)
    rows["test"].loc[0, "clip"] = "output_repeated_splits_test/final_videos_testdia0_utt0.mp4"
    assert joined(rows).splits["test"].arrays[0].tolist() == [[2]]


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        ({}, "imported/x", "holds no features called 'x'; there are: nothing"),
        ({"prosody_train.json": {"0_0": [1]}}, "imported/prosodie", "there are: prosody"),
        ({"x_train.json": {"0_0": [1]}, "y/x_train.json": {"0_0": [1]}}, "imported/x", "may be any of"),
        ({"x_train.json": {"0_0": [1]}, "x.json": {"0_0": [1]}}, "imported/x", "may be any of"),
        ({"x_train.json": {"0_0": [1], "0_1": [1, 2]}}, "imported/x", "dia0_utt1 is 2 numbers wide, dia0_utt0 1"),
        (
            {"x_train.json": {"0_0": [1]}, "x_dev.json": {"0_0": [1, 2]}},
            "imported/x",
            "dev: dia0_utt0 is 2 numbers",
        ),
        ({"x_train.json": {"a": {"0_0": [1]}, "b": {"0_0": [1]}}}, "imported/x", r"2 parts \(a, b\), 0 fit"),
        ({"x_train.json": {"a": {"0_0": [1]}, "b": {"0_0": [1]}}}, "imported/x:c", r"2 parts \(a, b\), 0 fit"),
        (
            {"x_train.json": {"other": [1]}},
            "imported/x",
            "no key names an utterance; a key is 'other', an utterance 'dia0",
        ),
        ({"x_train.json": {"0_0": []}}, "imported/x", "holds no vector"),
    ],
)
def test_a_name_that_does_not_mean_one_thing_is_one_line(rows, files, name, said):
    for file, content in files.items():
        (FOLDER / file).parent.mkdir(exist_ok=True)
        (FOLDER / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        joined(rows, name)


def test_a_corpus_without_a_folder_of_features_says_where_to_put_them(rows):
    FOLDER.rmdir()
    with pytest.raises(UserError, match="data/features/meld: not there"):
        joined(rows)


@given(
    order=st.permutations(range(4)), style=st.sampled_from(["dia{}_utt{}", "{}_{}", "({}, {})", "dia{}_utt{}.wav"])
)
def test_neither_the_order_nor_the_style_of_keys_matters(tmp_path_factory, order, style):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("styles"))
        rows = {split: manifest_of(split, SPLITS["train"] if split == "train" else {}) for split in manifest.SPLITS}
        own = list(vectors(rows, "train").items())
        numbers = [tuple(int(part[3:]) for part in name.split("_")) for name, _ in own]
        write_json(FOLDER / "x_train.json", {style.format(*numbers[place]): own[place][1] for place in order})
        agree(joined(rows), rows, {"train": dict(own)})


def test_the_encode_stage_writes_packs_of_float32_and_a_report(rows, capsys):
    expected = {split: vectors(rows, split) for split in rows}
    expected["train"]["dia0_utt1"][0, 0] = 70_000
    for split, own in rows.items():
        manifest.split_folder(split, "meld").mkdir(parents=True)
        manifest.write_manifest(manifest.split_folder(split, "meld") / "manifest.parquet", own)
        write_json(FOLDER / f"x_{split}.json", expected[split])
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["encode"]["audio"]["encoder"] = "imported/x"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    encode.main("meld", "audio")
    mean = np.concatenate(list(expected["train"].values())).mean(0, dtype=np.float64)
    for split, own in rows.items():
        pack = packs.read_pack(packs.pack_path(split, "meld", "audio"), own)
        assert pack.values.dtype == np.float32 and pack.unit_names == () and pack.step_seconds is None
        assert pack.encoder == "imported/x" and pack.present.all()
        assert np.array_equal(pack.values, np.concatenate([expected[split][name] for name in names(rows, split)]))
        assert np.allclose(pack.blank, mean[None], rtol=1e-6)
    report = json.loads(coverage.report_path("meld", "audio").read_text())
    assert report["splits"]["train"] == {"utterances": 4, "present": 4, "missing": {}, "nan": 0, "infinite": 0}
    assert report["files"] == ["x_train.json", "x_dev.json", "x_test.json"] and report["width"] == 3
    assert "meld.audio: imported/x: dev: 2 of 2 utterances" in capsys.readouterr().out
    first = {path: path.read_bytes() for path in Path("out/encode").rglob("*") if path.is_file()}
    encode.main("meld", "audio")
    assert first == {path: path.read_bytes() for path in Path("out/encode").rglob("*") if path.is_file()}


def test_nobody_builds_an_imported_encoder():
    for modality in manifest.MODALITIES:
        assert factory.build(modality, "imported/x", None) is None


@pytest.mark.real
@pytest.mark.skipif(not MELD.is_dir(), reason="../shared/data/meld is not there")
def test_the_prosody_of_meld_covers_it(tmp_path, monkeypatch):
    """What no row uses are the clips without a label row; what is missing, a broken clip and an absent one."""
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    rows = {}
    for split in manifest.SPLITS:
        (FOLDER / f"prosody_{split}.csv").symlink_to(MELD / f"prosody_{split}.csv")
        table = pd.read_csv(MELD / f"{split}_sent_emo.csv").sort_values(["Dialogue_ID", "Utterance_ID"])
        dialogues = table.groupby("Dialogue_ID")["Utterance_ID"].apply(list).to_dict()
        rows[split] = manifest_of(split, dialogues)
    join = joined(rows, "imported/prosody")
    assert {split: sum(one is not None for one in own.arrays) for split, own in join.splits.items()} == {
        "train": 9988, "dev": 1108, "test": 2610}  # fmt: skip
    assert [list(own.missing) for own in join.splits.values()] == [["dia125_utt3"], ["dia110_utt7"], []]
    assert join.unknown() == {
        "dev": ["dia49_utt4", "dia49_utt5", "dia66_utt10", "dia66_utt9"],
        "test": ["dia108_utt1", "dia108_utt2", "dia93_utt5", "dia93_utt6", "dia93_utt7"],
    }
    original = (
        pd.read_csv(MELD / "prosody_dev.csv").set_index("filename").loc["dia36_utt11.wav"].to_numpy(np.float32)
    )
    place = names(rows, "dev").index("dia36_utt11")
    assert np.array_equal(join.splits["dev"].arrays[place][0], original)

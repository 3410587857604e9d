"""python -m merc features: our packs as json, npz and parquet; `imported` reads back the very numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from packed import copy_parameters, pack, write_split

from merc.__main__ import main
from merc.data.records import manifest, packs
from merc.encoders.base import factory
from merc.encoders.imported import importing, reader
from merc.export.feature_files import FILE_NAMES, WRITERS

WIDTHS = {"text": 5, "audio": 3, "vision": 1}
STEPS = {"text": 6, "audio": 1, "vision": 4}  # at most; audio is one vector an utterance
KINDS = {"text": np.float16, "audio": np.float32, "vision": np.float16}


@pytest.fixture
def rows(tmp_path, monkeypatch) -> dict[str, pd.DataFrame]:
    """Packs of sequences, of vectors with numbers that are none, and of width 1; some utterances are absent."""
    monkeypatch.chdir(tmp_path)
    copy_parameters(tmp_path)
    found = {split: write_split(split, seed=seed) for seed, split in enumerate(manifest.SPLITS)}
    for split, own in found.items():
        for modality in manifest.MODALITIES:
            packs.write_pack(packs.pack_path(split, "sample", modality), made(own, modality, len(split)), own)
    return found


def made(rows: pd.DataFrame, modality: str, seed: int) -> packs.Pack:
    random = np.random.default_rng(seed)
    shapes = [(random.integers(1, STEPS[modality] + 1), WIDTHS[modality]) for _ in range(len(rows))]
    arrays = [random.normal(size=shape) * 10.0 ** random.integers(-6, 4) for shape in shapes]
    if modality == "audio":
        arrays[2][0, 1] = np.nan
    there = manifest.is_present(rows, modality)
    features = [array if own else None for array, own in zip(arrays, there, strict=True)]
    return pack(features, WIDTHS[modality], dtype=KINDS[modality])


def expected(rows, split: str, modality: str) -> dict[str, np.ndarray]:
    known = packs.read_pack(packs.pack_path(split, "sample", modality), rows[split])
    names = zip(rows[split]["utterance"], known.present, strict=True)
    return {name: known.utterance(i).astype(np.float32) for i, (name, there) in enumerate(names) if there}


@pytest.mark.parametrize("kind", WRITERS)
def test_reading_back_gives_the_same_arrays(rows, kind):
    assert main(["features", "--to", kind]) == 0
    for split in manifest.SPLITS:
        for modality, word in FILE_NAMES.items():
            known = expected(rows, split, modality)
            read_back = reader.read(f"out/features/sample/{split}_features/{word}_features.{kind}")
            assert list(read_back) == list(known) and len(known) < len(rows[split])
            assert all(np.array_equal(read_back[name], known[name], equal_nan=True) for name in known)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["features", "{word}_features"])
def test_as_an_imported_encoder_they_make_the_same_packs(rows, kind, name):
    assert main(["features", "data/features", "--to", kind]) == 0
    for modality, word in FILE_NAMES.items():
        encoder = factory.IMPORTED_PREFIX + name.format(word=word)
        join = importing.match_features("sample", modality, encoder, rows)
        assert join.unknown() == {}
        files = {split: Path("again") / f"{split}.{modality}" for split in rows}
        importing.write_packs(files, encoder, join, rows)
        for split in rows:
            first = packs.read_pack(packs.pack_path(split, "sample", modality), rows[split])
            again = packs.read_pack(files[split], rows[split])
            assert np.array_equal(again.values, first.values.astype(np.float32), equal_nan=True)
            assert np.array_equal(again.offsets, first.offsets) and np.array_equal(again.present, first.present)


def test_a_modality_that_nobody_encodes_has_no_file(rows, capsys):
    for split, own in rows.items():
        nothing = pack([None] * len(own), 0, encoder="none")
        packs.write_pack(packs.pack_path(split, "sample", "vision"), nothing, own)
    assert main(["features", "--to", "npz", "there"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and sum("not written" in line for line in lines) == 3
    assert sorted(path.name for path in Path("there/sample/dev_features").iterdir()) == [
        "audio_features.npz",
        "text_features.npz",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "usage"), (["--to"], "usage"), (["npz"], "usage"), (["--to", "csv"], "choose one of json, npz, parquet"),
     (["--to", "npz", "a", "b"], "usage")],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_one_line(rows, capsys, words, said):
    assert main(["features", *words]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1


def test_a_folder_below_a_file_is_refused(rows, capsys):
    Path("file").touch()
    for folder in ("file", "file/y"):
        assert main(["features", "--to", "json", folder]) == 2
        assert capsys.readouterr().err == f"merc: features: {folder}: file is a file; name a folder there\n"


@pytest.mark.parametrize(("names", "said"), [(["train_01", "b"], "reads as a split"), (["a/b", "c"], "a folder"),
                                             (["dia1_utt1", "dia01_utt01"], "read alike")])  # fmt: skip
def test_names_that_would_be_read_as_others_are_refused(rows, capsys, names, said):
    own = rows["train"]
    own.loc[[0, 1], "utterance"] = names
    manifest.write_manifest(manifest.split_folder("train", "sample") / "manifest.parquet", own)
    for modality in manifest.MODALITIES:
        packs.write_pack(packs.pack_path("train", "sample", modality), made(own, modality, 5), own)
    assert main(["features", "--to", "json"]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path("out/features").rglob("*.json"))


def test_packs_of_other_rows_and_stages_that_have_not_run_are_named(rows, capsys):
    packs.pack_path("dev", "sample", "audio").unlink()
    assert main(["features", "--to", "json"]) == 2
    assert "run `dvc repro encode`" in capsys.readouterr().err

"""merc.encoders.imported.reader.read: every format, and every way of naming an utterance."""

import json
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
from feature_writers import WRITERS, pickled, zipped
from hypothesis import given
from hypothesis import strategies as st

from merc.encoders.imported import reader


def same(found, expected) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], array, equal_nan=True), name


names = st.integers(0, 40).flatmap(lambda d: st.integers(0, 30).map(lambda u: f"dia{d}_utt{u}"))


@st.composite
def tables(draw):
    width = draw(st.integers(1, 4))
    chosen = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    one_step = draw(st.booleans())
    arrays = [generator.normal(size=(1 if one_step else generator.integers(1, 4), width)) for _ in chosen]
    return dict(zip(chosen, (array.astype(np.float32) for array in arrays), strict=True))


@pytest.mark.parametrize("name", WRITERS)
@given(entries=tables())
def test_every_format_gives_back_what_was_written_in_an_archive_too(tmp_path_factory, name, entries):
    if name == "a.csv":
        entries = {key: array[:1] for key, array in entries.items()}
    path = tmp_path_factory.mktemp("imported") / name
    WRITERS[name](path, entries)
    same(reader.read(path), entries)
    same(reader.read(zipped(path)), entries)


def test_every_known_ending_is_written_by_a_test_above():
    tested = {Path(name).suffix for name in WRITERS} | {".npy", ".tsv", ".hdf5", ".csd", ".pickle", ".p"}
    assert set(reader.FORMATS) <= tested


@pytest.mark.parametrize(
    "key",
    ["dia3_utt7", "3_7", "dia3_utt7.wav", "dia3_utt7.mp4", "(3, 7)", "('3', '7')", "('dia3', 'utt7')", "DIA3_UTT07",
     "dia3/utt7", "3/7", "dia3/7.wav", "train/dia3_utt7", "audio/train/3_7", "[3, 7]"],
)  # fmt: skip
def test_every_way_of_naming_an_utterance_is_one_name(tmp_path, key):
    (tmp_path / "a.json").write_text(json.dumps({key: [1, 2]}))
    same(reader.read(tmp_path / "a.json"), {"dia3_utt7": np.float32([[1, 2]])})


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "f2", "i8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_of_every_protocol_type_and_order(tmp_path, protocol, dtype, order):
    array = np.asarray(np.arange(6).reshape(2, 3) % 2, dtype, order=order)
    path = pickled(tmp_path, {(0, 1): array, (0, 2): [np.float32(1.5), np.float64(2), 3]}, protocol)
    same(reader.read(path), {"dia0_utt1": array.astype(np.float32), "dia0_utt2": np.float32([[1.5, 2, 3]])})


def test_names_of_numpy_before_version_2_and_python_2_strings(tmp_path):
    """As numpy 1 and Python 2.7 wrote {'0_1': array([1., 2.])}."""
    old = pickle.dumps({"0_1": np.array([1.0, 2.0])}, 0).replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "a.pkl").write_bytes(old)
    same(reader.read(tmp_path / "a.pkl"), {"dia0_utt1": np.float32([[1, 2]])})
    state = b"(I1\n(I2\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    raw = repr(np.array([1.0, 2.0]).tobytes())[1:].encode()
    begin = b"(dS'0_1'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    (tmp_path / "a.pkl").write_bytes(begin + state + b"S" + raw + b"\ntbs.")
    same(reader.read(tmp_path / "a.pkl"), {"dia0_utt1": np.float32([[1, 2]])})


def test_the_fields_own_pickles(tmp_path):
    vector = np.arange(4, dtype=np.float32)
    three = [{"0_0": vector}, {"0_0": vector + 1}, {"0_0": vector + 2, "1_0": vector}]  # MELD/features/*.pkl
    found = reader.read(pickled(tmp_path, three))
    same(found, {"train/dia0_utt0": vector[None], "dev/dia0_utt0": vector[None] + 1,
                 "test/dia0_utt0": vector[None] + 2, "test/dia1_utt0": vector[None]})  # fmt: skip
    ids, speakers = {0: ["0_0", "0_1"], 1: ["1_0"]}, {0: [[1, 0], [0, 1]], 1: [[1, 0]]}
    audio = {0: [vector, vector + 1], 1: [vector + 2]}
    words = {0: ["Hi.", "Oh."], 1: ["No."]}
    raw = (ids, speakers, audio, words, [0], {1})  # DialogueRNN, MMGCN
    found = reader.read(pickled(tmp_path, raw))
    assert found.parts == ["1", "2"]
    assert np.array_equal(found["2/dia0"], [vector, vector + 1]) and np.array_equal(found["2/dia1"], [vector + 2])
    assert set(found.passed_over) == {"0", "3", "4", "5"}
    table = {
        "id": ["dia0_utt0", "dia0_utt1"],
        "audio": np.ones((2, 5, 3)),
        "audio_lengths": [2, 5],
        "vision": np.ones((2, 1, 7)),
        "text": ["a", "b"],
    }
    found = reader.read(pickled(tmp_path, {"train": table, "valid": table}))  # CMU's, MMSA's
    assert {name: array.shape for name, array in found.items() if "audio/" in name} == {
        f"{split}/audio/dia0_utt{turn}": (steps, 3)
        for split in ("train", "dev")
        for turn, steps in ((0, 2), (1, 5))
    }


def test_containers_and_arrays_of_objects(tmp_path):
    ragged = np.empty(2, object)
    ragged[:] = [np.ones((1, 2)), np.zeros((3, 2))]
    several = OrderedDict(a=defaultdict(list, {"dia0_utt0": [1, 2]}), b={"dia5": ragged})
    found = reader.read(pickled(tmp_path, several))
    same(found, {"a/dia0_utt0": np.float32([[1, 2]]), "b/dia5/0": np.ones((1, 2)), "b/dia5/1": np.zeros((3, 2))})
    np.save(tmp_path / "of_objects.npy", np.array({"dia0_utt0": np.ones(3)}, dtype=object), allow_pickle=True)
    same(reader.read(tmp_path / "of_objects.npy"), {"dia0_utt0": np.ones((1, 3))})


def test_csvs_as_they_come(tmp_path):
    for text, expected in {
        "filename;a;b\n'dia0_utt0.wav';1;2\n".replace("'", ""): {"dia0_utt0": [[1, 2]]},
        "\ufeffDialogue_ID,Utterance_ID,Speaker,a\n0,3,Ann,1.5\n1,0,Bob,\n": {
            "dia0_utt3": [[1.5]],
            "dia1_utt0": [[np.nan]],
        },
        "dia0_utt0\t1\t2\ndia0_utt1\t3\tnan\n": {"dia0_utt0": [[1, 2]], "dia0_utt1": [[3, np.nan]]},
        "split,id,a\ntrain,0_0,1\ntest,0_0,2\n": {"train/dia0_utt0": [[1]], "test/dia0_utt0": [[2]]},
        "name,a,b\ndia0_utt0,inf,--undefined--\ndia0_utt1,1,2\n": {
            "dia0_utt0": [[np.inf, np.nan]],
            "dia0_utt1": [[1, 2]],
        },
    }.items():
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        same(reader.read(tmp_path / "a.csv"), {key: np.float32(value) for key, value in expected.items()})

"""merc.encoders.imported.read: every format, every way of naming an utterance, and what must be refused."""

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from merc.encoders import imported
from merc.problem import Problem

# --- writers, independent of the code: one per format, of name -> (steps, width) float32


def to_json(path: Path, entries) -> None:
    path.write_text(json.dumps({name: array.tolist() for name, array in entries.items()}))


def to_npz(path: Path, entries) -> None:
    np.savez(path, **entries)


def to_torch(path: Path, entries) -> None:
    torch.save({name: torch.from_numpy(array) for name, array in entries.items()}, path)


def to_torch_numpy(path: Path, entries) -> None:
    torch.save(entries, path)


def to_hdf5(path: Path, entries) -> None:
    with h5py.File(path, "w") as opened:
        for name, array in entries.items():
            opened.create_dataset(name, data=array, compression="gzip")


def to_safetensors(path: Path, entries) -> None:
    safetensors.numpy.save_file(entries, path)


def to_parquet(path: Path, entries) -> None:
    table = {"utterance": list(entries), "features": [array.tolist() for array in entries.values()]}
    pq.write_table(pa.table(table), path)


def to_pickle(path: Path, entries) -> None:
    path.write_bytes(pickle.dumps(entries))


def to_folder(path: Path, entries) -> None:
    path.mkdir()
    for name, array in entries.items():
        np.save(path / f"{name}.npy", array)


def to_csv(path: Path, entries) -> None:
    """One step an utterance."""
    width = next(iter(entries.values())).shape[1]
    rows = [["filename", *(f"x{number}" for number in range(width))]]
    rows += [[f"{name}.wav", *map(repr, map(float, array[0]))] for name, array in entries.items()]
    path.write_text("\n".join(",".join(row) for row in rows))


WRITERS = {
    "a.json": to_json,
    "a.npz": to_npz,
    "a.pt": to_torch,
    "b.pth": to_torch_numpy,
    "a.h5": to_hdf5,
    "a.safetensors": to_safetensors,
    "a.parquet": to_parquet,
    "a.pkl": to_pickle,
    "folder": to_folder,
    "a.csv": to_csv,
}


def zipped(path: Path, inside: str = "") -> Path:
    """The file, or everything in the folder, in an archive beside it."""
    target = path.with_name(path.name + ".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
            archive.write(one, inside + (one.relative_to(path.parent).as_posix()))
    return target


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
    same(imported.read(path), entries)
    same(imported.read(zipped(path)), entries)


def test_every_known_ending_is_written_by_a_test_above():
    tested = {Path(name).suffix for name in WRITERS} | {".npy", ".tsv", ".hdf5", ".csd", ".pickle", ".p"}
    assert set(imported.FORMATS) <= tested


@pytest.mark.parametrize(
    "key",
    ["dia3_utt7", "3_7", "dia3_utt7.wav", "dia3_utt7.mp4", "(3, 7)", "('3', '7')", "('dia3', 'utt7')", "DIA3_UTT07",
     "dia3/utt7", "3/7", "dia3/7.wav", "train/dia3_utt7", "audio/train/3_7", "[3, 7]"],
)  # fmt: skip
def test_every_way_of_naming_an_utterance_is_one_name(tmp_path, key):
    (tmp_path / "a.json").write_text(json.dumps({key: [1, 2]}))
    same(imported.read(tmp_path / "a.json"), {"dia3_utt7": np.float32([[1, 2]])})


def pickled(tmp_path, value, protocol=4) -> Path:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol))
    return tmp_path / "a.pkl"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "f2", "i8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_of_every_protocol_type_and_order(tmp_path, protocol, dtype, order):
    array = np.asarray(np.arange(6).reshape(2, 3) % 2, dtype, order=order)
    path = pickled(tmp_path, {(0, 1): array, (0, 2): [np.float32(1.5), np.float64(2), 3]}, protocol)
    same(imported.read(path), {"dia0_utt1": array.astype(np.float32), "dia0_utt2": np.float32([[1.5, 2, 3]])})


def test_names_of_numpy_before_version_2_and_python_2_strings(tmp_path):
    """As numpy 1 and Python 2.7 wrote {'0_1': array([1., 2.])}."""
    old = pickle.dumps({"0_1": np.array([1.0, 2.0])}, 0).replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "a.pkl").write_bytes(old)
    same(imported.read(tmp_path / "a.pkl"), {"dia0_utt1": np.float32([[1, 2]])})
    state = b"(I1\n(I2\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    raw = repr(np.array([1.0, 2.0]).tobytes())[1:].encode()
    begin = b"(dS'0_1'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    (tmp_path / "a.pkl").write_bytes(begin + state + b"S" + raw + b"\ntbs.")
    same(imported.read(tmp_path / "a.pkl"), {"dia0_utt1": np.float32([[1, 2]])})


def test_the_fields_own_pickles(tmp_path):
    vector = np.arange(4, dtype=np.float32)
    three = [{"0_0": vector}, {"0_0": vector + 1}, {"0_0": vector + 2, "1_0": vector}]  # MELD/features/*.pkl
    found = imported.read(pickled(tmp_path, three))
    same(found, {"train/dia0_utt0": vector[None], "dev/dia0_utt0": vector[None] + 1,
                 "test/dia0_utt0": vector[None] + 2, "test/dia1_utt0": vector[None]})  # fmt: skip
    ids, speakers = {0: ["0_0", "0_1"], 1: ["1_0"]}, {0: [[1, 0], [0, 1]], 1: [[1, 0]]}
    audio = {0: [vector, vector + 1], 1: [vector + 2]}
    words = {0: ["Hi.", "Oh."], 1: ["No."]}
    raw = (ids, speakers, audio, words, [0], {1})  # DialogueRNN, MMGCN
    found = imported.read(pickled(tmp_path, raw))
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
    found = imported.read(pickled(tmp_path, {"train": table, "valid": table}))  # CMU's, MMSA's
    assert {name: array.shape for name, array in found.items() if "audio/" in name} == {
        f"{split}/audio/dia0_utt{turn}": (steps, 3)
        for split in ("train", "dev")
        for turn, steps in ((0, 2), (1, 5))
    }


def test_containers_and_arrays_of_objects(tmp_path):
    ragged = np.empty(2, object)
    ragged[:] = [np.ones((1, 2)), np.zeros((3, 2))]
    several = OrderedDict(a=defaultdict(list, {"dia0_utt0": [1, 2]}), b={"dia5": ragged})
    found = imported.read(pickled(tmp_path, several))
    same(found, {"a/dia0_utt0": np.float32([[1, 2]]), "b/dia5/0": np.ones((1, 2)), "b/dia5/1": np.zeros((3, 2))})
    np.save(tmp_path / "of_objects.npy", np.array({"dia0_utt0": np.ones(3)}, dtype=object), allow_pickle=True)
    same(imported.read(tmp_path / "of_objects.npy"), {"dia0_utt0": np.ones((1, 3))})


class Calls:
    """What a malicious pickle does when the plain unpickler reads it."""

    def __init__(self, function, *words) -> None:
        self.function, self.words = function, words

    def __reduce__(self):
        return self.function, self.words


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (np.load, "numpy.load"), (io.FileIO, "_io.FileIO"),
     (getattr, "builtins.getattr"), (np.save, "numpy.save"), (exec, "builtins.exec")],
)  # fmt: skip
def test_whatever_else_a_pickle_asks_for_is_refused_by_name_and_nothing_runs(tmp_path, protocol, function, name):
    trace = tmp_path / "trace"
    words = {"system": (f"touch {trace}",), "eval": (f"open({str(trace)!r}, 'w')",)}
    evil = pickle.dumps({"dia0_utt0": [Calls(function, *words.get(function.__name__, (str(trace),)))]}, protocol)
    for file, content in {
        "evil.pkl": evil,
        "evil.npy": _npy_of(evil),
        "evil.zip": _zip_of({"deep/evil.pkl": evil}),
        "deeper.zip": _zip_of({"a.zip": _zip_of({"evil.p": evil})}),
        "evil.npz": _zip_of({"a.npy": _npy_of(evil)}),
    }.items():
        (tmp_path / file).write_bytes(content)
        with pytest.raises(Problem, match=rf"{file}.*asks for (\S*\.)?{name.split('.')[1]}") as refused:
            imported.read(tmp_path / file)
        assert "\n" not in str(refused.value)
        assert not trace.exists()


def _npy_of(content: bytes) -> bytes:
    written = io.BytesIO()
    np.save(written, np.array({}, dtype=object), allow_pickle=True)
    written.seek(0)
    np.lib.format.read_magic(written)
    np.lib.format.read_array_header_1_0(written)
    return written.getvalue()[: written.tell()] + content


def _zip_of(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def test_torch_files_that_need_the_full_unpickler_are_refused_by_name(tmp_path):
    torch.save({"dia0_utt0": Calls(os.system, f"touch {tmp_path / 'trace'}")}, tmp_path / "evil.pt")
    with pytest.raises(Problem, match=r"evil\.pt: asks for posix\.system"):
        imported.read(tmp_path / "evil.pt")
    torch.save({"dia0_utt0": np.ones(2), "dia0_utt1": Calls(os.system, "true")}, tmp_path / "evil.pt")
    with pytest.raises(Problem, match=r"evil\.pt: asks for posix\.system"):
        imported.read(tmp_path / "evil.pt")
    assert not (tmp_path / "trace").exists()


# An array or a type that lies about itself: numpy's own would read memory that is not its own.
BYTES = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
SMUGGLERS = {
    "objects from raw bytes": BYTES + b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI00\nS'aaaaaaaabbbbbbbb'\ntb.",
    "flags that deny objects": BYTES
    + b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'aaaaaaaabbbbbbbb'\ntb.",
    "a structure": BYTES
    + b"cnumpy\ndtype\n(S'V16'\nI0\nI1\ntR(I3\nS'|'\nN(S'a'\nt(dNI16\nI1\nI0\ntbI00\nS'aa'\ntb.",
    "a type by a word": BYTES + b"cnumpy\ndtype\n(S'f8,O'\nI0\nI1\ntRI00\nS'aaaaaaaabbbbbbbb'\ntb.",
    "too few bytes": BYTES + b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS'aaaa'\ntb.",
    "a huge shape": BYTES.replace(b"I2", b"I99999999999999")
    + b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS'aaaaaaaabbbbbbbb'\ntb.",
    "a negative shape": BYTES.replace(b"I2", b"I-2") + b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS''\ntb.",
    "another class": BYTES.replace(b"cnumpy\nndarray", b"cnumpy\nmatrix") + b"N.",
    "a codec": b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
    "a state for a function": b"cnumpy\ndtype\n(dS'x'\nI1\nsb.",
    "a state for a type": b"ccollections\nOrderedDict\n(N(dS'__setitem__'\ncnumpy\ndtype\nstb.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent object": b"Pfile\n.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.dot\x93.",
}


@pytest.mark.parametrize("case", SMUGGLERS)
def test_no_array_type_or_opcode_smuggles_anything(tmp_path, case):
    (tmp_path / "a.pkl").write_bytes(SMUGGLERS[case])
    with pytest.raises(Problem, match=r"a\.pkl: ") as refused:
        imported.read(tmp_path / "a.pkl")
    assert "\n" not in str(refused.value)


def _same_again(depth: int):
    node = [1.0]
    for _ in range(depth):
        node = [node, node, {"x": node}]
    return {"dia0_utt0": node}


def _in_itself():
    node: list = [1.0]
    node.append(node)
    return {"dia0_utt0": node}


HOSTILE = {
    "empty.json": (b"", "is empty"),
    "truncated.json": (b'{"dia0_utt0": [1, 2', "cannot be read as .json"),
    "words.json": (b'{"dia0_utt0": ["a", "b"]}', "'a' is no number"),
    "one_word.json": (b'{"dia0_utt0": [1], "dia0_utt1": "b"}', "dia0_utt1: 'b' is no number"),
    "ragged.json": (b'{"dia0_utt0": [[1, 2], [3]]}', "ragged: 2 numbers, then 1"),
    "twice.json": (b'{"dia0_utt0": [1], "dia0_utt0": [2]}', "'dia0_utt0' twice"),
    "alike.json": (b'{"dia0_utt0": [1], "0_0": [2]}', "dia0_utt0: stands twice"),
    "deep.json": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "nests too deep"),
    "deepish.json": (b"[" * 500 + b"]" * 500, "nests more than"),
    "nothing.json": (b"{}", "holds no features"),
    "no_names.json": (b"[[1, 2], [3, 4]]", "no name of an utterance"),
    "digits.json": (b'{"dia0_utt0": [' + b"9" * 5000 + b"]}", "cannot be read as .json"),
    "binary.json": (b"\xff\xfe\x00\x01", "cannot be read as .json"),
    "cells.csv": (b"name,a,b\ndia0_utt0,1,2\ndia0_utt1,1\n", "row 3 has 2 cells, the header 3"),
    "word.csv": (b"name,a,b\ndia0_utt0,1,2\ndia0_utt1,1,loud\n", "row 3: b = 'loud' is no number"),
    "twice.csv": (b"name,a\ndia0_utt0,1\ndia0_utt0,2\n", "row 3: a second row of 'dia0_utt0'"),
    "split.csv": (b"split,name,a\ntrain,dia0_utt0,1\nother,dia0_utt1,2\n", "row 3: split = 'other'"),
    "names.csv": (b"name\ndia0_utt0\n", "a column of names and columns of numbers"),
    "words.csv": (b"name,a\ndia0_utt0,x\ndia0_utt1,y\n", "no column of numbers"),
    "binary.csv": (b"\x00\x01\x02", "is no text"),
    "a.npz": (b"PK\x03\x04 no archive", "cannot be read as .npz"),
    "dia0_utt0.npy": (b"\x93NUMPY\x01\x00", "cannot be read as .npy"),
    "a.pt": (b"no archive", "cannot be read as .pt|no file of torch.save"),
    "a.h5": (b"\x89HDF\r\n\x1a\n", "cannot be read as .h5"),
    "a.safetensors": (b"\xff" * 16, "cannot be read as .safetensors"),
    "a.parquet": (b"PAR1PAR1", "cannot be read as .parquet"),
    "a.pkl": (pickle.dumps({"dia0_utt0": np.ones(100)})[:-20], "cannot be read as .pkl"),
    "text.pkl": (b"some text", "cannot be read as .pkl"),
    "again.pkl": (pickle.dumps(_same_again(40)), "over and over|more than"),
    "itself.pkl": (pickle.dumps(_in_itself()), "nests more than"),
    "set.pkl": (pickle.dumps({"dia0_utt0": {1, 2}}), "a set is no number"),
    "complex.pkl": (pickle.dumps({"dia0_utt0": np.ones(2, complex)}), "type 'c16'"),
    "a.txt": (b"1 2 3", "of no known format"),
    "a.zip": (b"PK no archive", "cannot be read: BadZipFile"),
    "out.zip": (_zip_of({"../a.json": b"{}"}), "leads out of it"),
    "root.zip": (_zip_of({"/etc/a.json": b"{}"}), "leads out of it"),
    "drive.zip": (_zip_of({"C:\\a.json": b"{}"}), "leads out of it"),
    "readme.zip": (_zip_of({"README.txt": b"words"}), "holds no file of a known format"),
    "deep.zip": (
        _zip_of({"a.zip": _zip_of({"b.zip": _zip_of({"c.zip": _zip_of({"d.json": b"{}"})})})}),
        "in an archive",
    ),
    "inside.zip": (_zip_of({"x/a.json": b'{"dia0_utt0": ['}), r"x/a\.json: cannot be read as \.json"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(tmp_path, name):
    content, words = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem, match=words) as refused:
        imported.read(tmp_path / name)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "folder"])
@given(cut=st.floats(0, 0.99), flip=st.integers(0, 255))
def test_a_cut_or_changed_file_is_a_problem_or_features_and_nothing_else(tmp_path_factory, name, cut, flip):
    path = tmp_path_factory.mktemp("broken") / name
    WRITERS[name](path, {"dia0_utt0": np.ones((1, 3), np.float32), "dia0_utt1": np.zeros((1, 3), np.float32)})
    content = bytearray(path.read_bytes())
    for broken in (content[: int(len(content) * cut)], _changed(content, cut, flip)):
        path.write_bytes(broken)
        try:
            assert len(imported.read(path)) >= 1
        except Problem as problem:
            assert "\n" not in str(problem)


def _changed(content: bytearray, where: float, flip: int) -> bytearray:
    changed = bytearray(content)
    changed[int(len(content) * where)] ^= flip
    return changed


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("merc.encoders.formats.archives.LARGEST", 1000)
    for name, content in {
        "a.zip": _zip_of({"a.json": b" " * 1_000_000}),
        "a.npz": _zip_of({"a.npy": bytes(10**6)}),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Problem, match="unpacks to 1,000,000 bytes, more than"):
            imported.read(tmp_path / name)
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened.create_dataset("dia0_utt0", (10**9, 10**3), "f4", chunks=True)
    with pytest.raises(Problem, match="taken for a trap"):
        imported.read(tmp_path / "a.h5")


def test_links_out_of_an_hdf5_file_are_refused(tmp_path):
    to_hdf5(tmp_path / "other.h5", {"dia0_utt0": np.ones((1, 2))})
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened["dia0_utt0"] = h5py.ExternalLink("other.h5", "dia0_utt0")
    with pytest.raises(Problem, match="is a link"):
        imported.read(tmp_path / "a.h5")


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
        same(imported.read(tmp_path / "a.csv"), {key: np.float32(value) for key, value in expected.items()})

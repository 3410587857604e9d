"""merc.encoders.imported.reader.read: what must be refused, in one line that names the file, and nothing runs."""

import io
import json
import multiprocessing
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from feature_writers import WRITERS, to_hdf5, zip_of
from hypothesis import given
from hypothesis import strategies as st

from merc.encoders.imported import reader
from merc.runtime.errors import UserError


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
        "evil.zip": zip_of({"deep/evil.pkl": evil}),
        "deeper.zip": zip_of({"a.zip": zip_of({"evil.p": evil})}),
        "evil.npz": zip_of({"a.npy": _npy_of(evil)}),
    }.items():
        (tmp_path / file).write_bytes(content)
        with pytest.raises(UserError, match=rf"{file}.*asks for (\S*\.)?{name.split('.')[1]}") as refused:
            reader.read(tmp_path / file)
        assert "\n" not in str(refused.value)
        assert not trace.exists()


def _npy_of(content: bytes) -> bytes:
    written = io.BytesIO()
    np.save(written, np.array({}, dtype=object), allow_pickle=True)
    written.seek(0)
    np.lib.format.read_magic(written)
    np.lib.format.read_array_header_1_0(written)
    return written.getvalue()[: written.tell()] + content


def test_torch_files_that_need_the_full_unpickler_are_refused_by_name(tmp_path):
    torch.save({"dia0_utt0": Calls(os.system, f"touch {tmp_path / 'trace'}")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil\.pt: asks for posix\.system"):
        reader.read(tmp_path / "evil.pt")
    torch.save({"dia0_utt0": np.ones(2), "dia0_utt1": Calls(os.system, "true")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil\.pt: asks for posix\.system"):
        reader.read(tmp_path / "evil.pt")
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
    with pytest.raises(UserError, match=r"a\.pkl: ") as refused:
        reader.read(tmp_path / "a.pkl")
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
    "out.zip": (zip_of({"../a.json": b"{}"}), "leads out of it"),
    "root.zip": (zip_of({"/etc/a.json": b"{}"}), "leads out of it"),
    "drive.zip": (zip_of({"C:\\a.json": b"{}"}), "leads out of it"),
    "readme.zip": (zip_of({"README.txt": b"words"}), "holds no file of a known format"),
    "deep.zip": (
        zip_of({"a.zip": zip_of({"b.zip": zip_of({"c.zip": zip_of({"d.json": b"{}"})})})}),
        "in an archive",
    ),
    "inside.zip": (zip_of({"x/a.json": b'{"dia0_utt0": ['}), r"x/a\.json: cannot be read as \.json"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(tmp_path, name):
    content, words = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as refused:
        reader.read(tmp_path / name)
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
            assert len(reader.read(path)) >= 1
        except UserError as problem:
            assert "\n" not in str(problem)


def _changed(content: bytearray, where: float, flip: int) -> bytearray:
    changed = bytearray(content)
    changed[int(len(content) * where)] ^= flip
    return changed


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("merc.encoders.imported.formats.budget.MAX_UNPACKED_BYTES", 1000)
    for name, content in {
        "a.zip": zip_of({"a.json": b" " * 1_000_000}),
        "a.npz": zip_of({"a.npy": bytes(10**6)}),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="unpacks to 1,000,000 bytes, more than"):
            reader.read(tmp_path / name)
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened.create_dataset("dia0_utt0", (10**9, 10**3), "f4", chunks=True)
    with pytest.raises(UserError, match="taken for a trap"):
        reader.read(tmp_path / "a.h5")


def test_links_out_of_an_hdf5_file_are_refused(tmp_path):
    to_hdf5(tmp_path / "other.h5", {"dia0_utt0": np.ones((1, 2))})
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened["dia0_utt0"] = h5py.ExternalLink("other.h5", "dia0_utt0")
    with pytest.raises(UserError, match="is a link"):
        reader.read(tmp_path / "a.h5")


def _resource_traps() -> dict[str, Callable[[Path], object]]:
    """Files of a few bytes that would take gigabytes or minutes."""
    million = {f"dia{number}_utt0": 0 for number in range(60_000)}
    return {
        "lies.zip": lambda path: path.write_bytes(_lying(zip_of({"a.json": b" " * 4 * 10**8}))),
        "lies.npz": lambda path: path.write_bytes(_lying(zip_of({"a.npy": bytes(4 * 10**8)}))),
        "lzma.zip": lambda path: path.write_bytes(_lying(zip_of({"a.json": bytes(10**7)}, zipfile.ZIP_LZMA))),
        "view.pt": lambda path: torch.save({"dia0_utt0": torch.zeros(1).expand(10**9)}, path),
        "rows.pt": lambda path: torch.save({"dia0_utt0": torch.zeros(1, 1).expand(10**6, 10**3)}, path),
        "views.pt": lambda path: torch.save({"dia0_utt0": torch.zeros(1).expand(10**8, 1, 1)}, path),
        "column.pt": lambda path: torch.save({"id": ["a"] * 3, "x": torch.zeros(1).expand(3, 10**9)}, path),
        "memo.pkl": lambda path: path.write_bytes(b"\x80\x02]r\xff\xff\xff\x1f."),
        "put.pkl": lambda path: path.write_bytes(b"]p500000000\n."),
        "rows.pkl": lambda path: path.write_bytes(pickle.dumps({"dia0_utt0": [[1.0] * 10_000] * 10_000})),
        "lists.zip": lambda path: path.write_bytes(zip_of({"a.pkl": b"\x80\x02(" + b"]" * 10**7 + b"t."})),
        "encode.zip": lambda path: path.write_bytes(zip_of({"a.pkl": _encoded_again()})),
        "datasets.h5": _datasets,
        "filled.h5": _filled,
        "lists.parquet": lambda path: pq.write_table(pa.table({"id": ["a"], "x": [np.zeros(10**7)]}), path),
        "words.parquet": lambda path: pq.write_table(
            pa.table({"id": ["a" * 10**5] * 3000, "x": [0.0] * 3000}), path
        ),
        "lists.json.zip": lambda path: path.write_bytes(zip_of({"a.json": b"[" + b"[]," * 5 * 10**6 + b"1]"})),
        "cells.csv.zip": lambda path: path.write_bytes(zip_of({"a.csv": b"a,b\n" + b"1,\n" * 5 * 10**6})),
        "twice.json": lambda path: path.write_text(json.dumps(million)[:-1] + ', "dia59999_utt0": 0}'),
        "twice.pkl": lambda path: path.write_bytes(
            pickle.dumps({"id": [*million, "dia59999_utt0"], "x": np.zeros(60_001)})
        ),
        "pipe.json": os.mkfifo,
        "device.json": lambda path: path.symlink_to("/dev/zero"),
    }


def _lying(content: bytes) -> bytes:
    """The archive of one entry with 100 as its unpacked size in the directory."""
    at = content.index(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", 100) + content[at + 4 :]


def _encoded_again() -> bytes:
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
    return b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x010(" + b"h\x00h\x01\x85R" * 5000 + b"t."


def _datasets(path: Path) -> None:
    with h5py.File(path, "w") as opened:
        for number in range(40):
            opened.create_dataset(f"dia0_utt{number}", (10**6,), "f8", chunks=True)


def _filled(path: Path) -> None:
    with h5py.File(path, "w") as opened:
        opened["a"] = "a" * 30_000
        opened.create_dataset("names", (10_000,), h5py.string_dtype(), chunks=True, fillvalue="a" * 30_000)


def _read_alone(path: Path, pipe) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        reader.read(path)
        answer = "features"
    except UserError as problem:
        answer = str(problem)
    pipe.send((answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


@pytest.mark.parametrize("name", _resource_traps())
def test_a_trap_is_refused_before_it_takes_memory_or_time(tmp_path, monkeypatch, name):
    monkeypatch.setattr("merc.encoders.imported.formats.budget.MAX_UNPACKED_BYTES", 2**26)
    path = tmp_path / name
    _resource_traps()[name](path)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_read_alone, args=(path, there), daemon=True)
    process.start()
    has_answered = here.poll(20)
    process.kill()
    process.join()
    assert has_answered
    answer, kilobytes = here.recv()
    assert answer.startswith(f"{path}: ")
    assert "\n" not in answer
    assert kilobytes < 250_000

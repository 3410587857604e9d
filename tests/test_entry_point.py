"""The entry point of every stage: what a user can mend is one line and exit code 2."""

import errno
import sys

import pytest

from merc.runtime import entry_point, workers


def _run(monkeypatch, capsys, main, *items: str) -> str:
    monkeypatch.setattr(sys, "argv", ["stage", *items])
    with pytest.raises(SystemExit) as ended:
        entry_point.run(main)
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("merc: ")
    return line


def _of_two(corpus: str, modality: str) -> None:
    raise AssertionError


@pytest.mark.parametrize("items", [(), ("sample",), ("sample", "text", "more")])
def test_a_stage_without_its_items_names_them(monkeypatch, capsys, items):
    assert f"<corpus> <modality>, and {len(items)} were given" in _run(monkeypatch, capsys, _of_two, *items)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_is_one_line(monkeypatch, capsys, code):
    def write() -> None:
        raise OSError(code, "no way", "out/train/result.json")

    assert "out/train/result.json: no way; make room" in _run(monkeypatch, capsys, write)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENAMETOOLONG, "write a shorter name"),
        (errno.ENOTDIR, "a part of this path is a file; name a folder there"),
        (errno.EEXIST, "a file is where a folder belongs"),
        (errno.EISDIR, "name a file"),
    ],
)
def test_a_path_that_cannot_be_is_one_line(monkeypatch, capsys, code, remedy):
    def write() -> None:
        raise OSError(code, "no way", "out/train")

    assert f"out/train: no way; {remedy}" in _run(monkeypatch, capsys, write)


def test_another_error_of_the_system_keeps_its_traceback(monkeypatch):
    def connect() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(ConnectionResetError):
        entry_point.run(connect)


def _write_in_a_worker(number: int) -> None:
    raise OSError(errno.ENOSPC, "no space", f"out/{number}")


def test_a_full_disk_in_a_worker_is_one_line_too(monkeypatch, capsys):
    def main() -> None:
        workers.run([1], _write_in_a_worker, seconds=60)

    assert "out/1: no space; make room" in _run(monkeypatch, capsys, main)

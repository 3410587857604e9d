"""The entry point of every stage: what a user can mend is one line and exit code 2."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

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


def _is_alive(process: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


STAGE = """
import time
from pathlib import Path
from merc.runtime import entry_point

def main():
    Path("begun").touch()
    time.sleep(2.5)
    Path("ended").touch()

entry_point.run(main)
"""
# starts a stage in the background and ends as soon as it is at work, as a shell does
STARTER = """
import pathlib, subprocess, sys, time
stage = subprocess.Popen([sys.executable, "stage.py"], stderr=open("said", "w"))
while not pathlib.Path("begun").exists():
    time.sleep(0.01)
pathlib.Path("pid").write_text(str(stage.pid))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("starter", [{}, {"DVC_STAGE": "train"}, {"TORCHELASTIC_RUN_ID": "1"}])
def test_a_stage_ends_with_the_dvc_that_ran_it_and_outlives_a_shell(here, starter):
    Path("stage.py").write_text(STAGE)
    inherited = {name: value for name, value in os.environ.items() if name not in entry_point.STARTERS}
    environment = inherited | starter | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run([sys.executable, "-c", STARTER], env=environment, check=True, timeout=60)
    deadline = time.monotonic() + 60
    while _is_alive(Path("pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Path("ended").exists() == (not starter)
    assert Path("said").read_text().count("is gone, which ran this stage") == len(starter)


def _write_in_a_worker(number: int) -> None:
    raise OSError(errno.ENOSPC, "no space", f"out/{number}")


def test_a_full_disk_in_a_worker_is_one_line_too(monkeypatch, capsys):
    def main() -> None:
        workers.run([1], _write_in_a_worker, seconds=60)

    assert "out/1: no space; make room" in _run(monkeypatch, capsys, main)

"""stages.extract killed and begun again: what was finished stays, and the end is the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import extracted
import pytest

from merc.runtime import resume
from merc.runtime.errors import UserError
from merc.runtime.shards import Shard
from stages import extract


def _start(here: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(extracted.ROOT)}
    command = [sys.executable, "-m", "stages.extract", "sample"]
    return subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True)


def _kill_halfway(here: Path, finished: int) -> None:
    process = _start(here)
    deadline = time.monotonic() + 60
    while len(list(here.glob("out/.partial/extract-sample/*/done/*/*.json"))) < finished:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_run_is_continued_and_other_parameters_are_not(here):
    extracted.corpus(here / "data/raw/sample", count=60)
    extracted.truthless(here)
    extract.main("sample")
    wanted = extracted.hashes(here)
    _kill_halfway(here, 20)
    Path("params.yaml").write_text(extracted.PARAMS.replace("size: 32", "size: 16"), encoding="utf-8")
    _kill_halfway(here, 20)
    Path("params.yaml").write_text(extracted.PARAMS, encoding="utf-8")
    assert "were finished by an earlier run" in _start(here).communicate(timeout=60)[0]
    assert extracted.hashes(here) == wanted
    assert not (here / "out/.partial/extract-sample").exists()


def test_three_shards_and_a_merge_give_the_bytes_of_the_whole(here, capsys):
    extracted.corpus(here / "data/raw/sample", count=9)
    extracted.truthless(here)
    extract.main("sample")
    wanted = extracted.hashes(here)
    for index in (2, 0, 1):
        extract.main("sample", Shard(index, 3))
    extract.main("sample")
    assert "27 of 27 utterances were finished by an earlier run" in capsys.readouterr().out
    assert extracted.hashes(here) == wanted


def test_a_corrected_transcript_is_not_continued_with_the_old_one(here, capsys):
    place = extracted.corpus(here / "data/raw/sample", count=2)
    extracted.truthless(here)
    extract.main("sample", Shard(0, 1))  # as an interrupted run leaves it: all clips, no outputs
    extracted.table(place / "train_sent_emo.csv", [extracted.row(0, number, "Other words.") for number in (0, 1)])
    extract.main("sample")
    assert "were finished by an earlier run" not in capsys.readouterr().out
    assert set(extracted.table_of()["text"]) == {"Other words."}


def test_a_second_writer_is_refused(here, monkeypatch):
    monkeypatch.setattr(resume, "LOCK_SECONDS", 0.1)
    with (
        resume.locked("extract-sample"),
        pytest.raises(UserError, match=f"process {os.getpid()} is at work"),
        resume.locked("extract-sample"),
    ):
        pass

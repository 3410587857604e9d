"""Killing `dvc` left the stage's processes running, and a second `dvc repro` ran beside them."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ORPHANS = """
import os, sys, time
from pathlib import Path
from merc.runtime import workers

def work(number):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

workers.worker_count = lambda: 2
workers.run([0, 1], work)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_soon_after_a_kill_of_their_parent(tmp_path):
    command = [sys.executable, "-c", ORPHANS, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2])
    deadline = time.monotonic() + 60
    while len(pids := [file.name for file in tmp_path.iterdir()]) < 2:
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False

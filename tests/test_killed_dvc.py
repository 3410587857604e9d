"""kill -9 of `dvc repro` itself: the stage notices, the next run continues and ends with the same bytes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import extracted
import pytest
import yaml

COUNT = 150  # utterances a split: enough to be killed in
PIPELINE = {
    "stages": {
        "extract": {
            "cmd": "python -m stages.extract sample",
            "deps": ["data/raw/sample"],
            "params": ["extract", "extract.faces.size"],  # as dvc.yaml has it, and why: test_pipeline.py
            "outs": [f"out/extract/{split}/sample" for split in ("train", "dev", "test")],
        }
    }
}


@pytest.fixture
def project(here) -> Path:
    """A project of its own that DVC runs, with this repository's code."""
    (here / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE), encoding="utf-8")
    (here / ".gitignore").write_text("/out\n/data\n", encoding="utf-8")
    extracted.corpus(here / "data/raw/sample", count=COUNT)
    extracted.truthless(here)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([*DVC, "init", "-q"], check=True)
    return here


DVC = [sys.executable, "-m", "dvc"]


def start(*words: str) -> subprocess.Popen:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(extracted.ROOT), "PATH": path, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*DVC, *(words or ("repro",))], env=environment, **pipes)


def run() -> str:
    process = start()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    return said


def outcomes() -> dict[Path, int]:
    """When each finished item of a run that is under way was written."""
    return {path: path.stat().st_mtime_ns for path in Path("out/.partial").glob("extract-sample/*/done/*/*.json")}


def kill_halfway() -> int:
    """Kill dvc once 30 items are finished; the stage's process id."""
    process, deadline = start(), time.monotonic() + 60
    while len(outcomes()) < 30:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.005)
    stage = int(Path("out/.partial/extract-sample.holder").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return stage


def wait_for_end(process: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{process}").exists() and "State:\tZ" not in _status(process):
        assert time.monotonic() < deadline, f"the orphaned stage {process} still runs"
        time.sleep(0.05)


def _status(process: int) -> str:
    try:
        return Path(f"/proc/{process}/status").read_text()
    except OSError:
        return "State:\tZ"


def choose(old: str = "", new: str = "") -> None:
    """The parameters, but for one value."""
    Path("params.yaml").write_text(extracted.PARAMS.replace(old, new), encoding="utf-8")


@pytest.mark.slow
def test_a_killed_dvc_leaves_work_that_the_next_one_continues(project):
    run()
    wanted, lock = extracted.hashes(project / "out/extract"), Path("dvc.lock").read_bytes()
    for path in ("out", "dvc.lock", ".dvc/cache", ".dvc/tmp"):
        subprocess.run(["rm", "-rf", path], check=True)
    wait_for_end(kill_halfway(), seconds=5)
    kept = outcomes()
    assert 30 <= len(kept) < 3 * COUNT and not Path("out/extract").exists()
    again = start()
    deadline = time.monotonic() + 60
    while len(outcomes()) < len(kept) + 10:
        assert again.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    now = outcomes()
    assert {path: now[path] for path in kept} == kept  # not done again
    said = again.communicate(timeout=120)[0]
    match = re.search(rf"(\d+) of {3 * COUNT} utterances were finished", said)
    # a worker that outlives its stage by a moment may still finish the item in its hands
    assert again.returncode == 0 and match and len(kept) <= int(match[1]) <= len(kept) + 2, said
    assert extracted.hashes(project / "out/extract") == wanted
    assert Path("dvc.lock").read_bytes() == lock
    assert not Path("out/.partial/extract-sample").exists()


@pytest.mark.slow
def test_parameters_a_then_b_killed_then_a_end_with_those_of_a(project):
    run()
    wanted, lock = extracted.hashes(project / "out/extract"), Path("dvc.lock").read_bytes()
    choose("size: 32", "size: 16")
    wait_for_end(kill_halfway(), seconds=5)
    choose()
    run()
    assert extracted.hashes(project / "out/extract") == wanted and Path("dvc.lock").read_bytes() == lock
    subprocess.run(["rm", "-rf", "out/extract", ".dvc/cache"], check=True)
    wait_for_end(kill_halfway(), seconds=5)  # A, killed
    choose("min_seconds: 0.2", "min_seconds: 0.5")
    run()
    assert extracted.hashes(project / "out/extract") != wanted
    choose()
    run()
    assert extracted.hashes(project / "out/extract") == wanted


@pytest.mark.slow
def test_a_second_dvc_is_refused_while_the_stage_of_a_living_one_runs(project):
    first = start()
    deadline = time.monotonic() + 60
    while not outcomes():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    stage = int(Path("out/.partial/extract-sample.holder").read_text())
    os.kill(stage, signal.SIGSTOP)  # at work for as long as it takes
    try:
        command = [sys.executable, "-m", "stages.extract", "sample"]
        environment = os.environ | {"PYTHONPATH": str(extracted.ROOT)}
        began = time.monotonic()
        second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    finally:
        os.kill(stage, signal.SIGCONT)
    assert second.returncode == 2 and time.monotonic() - began < 25
    assert f"process {stage} is at work there" in second.stderr and "Traceback" not in second.stderr
    assert first.wait(timeout=120) == 0
    first.stdout.close()

"""compute.engine: ray: the contract of merc.runtime.workers, the sample's bytes, and no process left behind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import clones
import pytest
import test_work as jobs
import yaml
from closure import ROOT

from merc.runtime import numerics, workers
from merc.runtime.engines import ray_actors
from merc.runtime.errors import UserError

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="pip install -r requirements-ray.txt")
SEEDS = [1, 2]
SCRIPT = """
import time
from pathlib import Path
from merc.runtime import workers

def work(name):
    Path(name).touch()
    time.sleep(600)

if __name__ == "__main__":
    workers.run(["begun/1", "begun/2"], work)
"""


def write_params(folder: Path, **changes) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["compute"] |= {"engine": "ray", "workers": 2} | changes
    params["train"]["seeds"] = SEEDS
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder whose parameters ask for Ray, entered."""
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seen(number: int) -> tuple[dict[str, str], int, str]:
    """The environment, the process and the folder of a job."""
    return dict(os.environ), os.getpid(), str(Path.cwd())


def test_without_ray_one_line_says_what_to_install(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^params.yaml: compute.engine = 'ray': .*requirements-ray\.txt$"):
        workers.run([1], jobs.square)


def test_another_engine_is_refused(project):
    write_params(project, engine="dask")
    with pytest.raises(UserError, match=r"compute\.engine = 'dask'"):
        workers.run([1], jobs.square)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "head", "head:ray"])
def test_a_cluster_that_is_not_there_is_one_line(project, monkeypatch, address):
    write_params(project, ray_address=address)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(UserError, match=rf"^params.yaml: compute.ray_address = '{address}': no Ray there [^\n]*$"):
        workers.run([1], jobs.square)


@pytest.mark.slow
@needs_ray
def test_the_contract_of_workers_holds(project, monkeypatch):
    """One test, since Ray is started once a process."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))  # where a worker finds the functions
    assert workers.run(range(50), jobs.square) == [number * number for number in range(50)]
    found = workers.run(range(8), seen)
    for environment, process, folder in found:
        assert numerics.environment().items() <= environment.items()
        assert (process != os.getpid(), folder) == (True, str(project))
    assert len({process for _, process, _ in found}) <= 2

    monkeypatch.setattr(ray_actors.RayActors, "attempts", 2)
    results = workers.run(range(8), jobs.die_at_three)
    assert results[3].reason.startswith("its worker process died (")
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5, 6, 7]
    results = workers.run(range(6), jobs.hang_at_three, seconds=3.0)
    assert results == [0, 1, 2, workers.JobFailure("took longer than 3 s"), 4, 5]
    markers = [str(project / name) for name in "ab"]
    assert workers.run(markers, jobs.die_the_first_time) == ["done", "done"]

    with pytest.raises(RuntimeError, match=r"(?s)in stumble.*seven is not allowed"):
        workers.run([1, 1], jobs.stumble)
    with pytest.raises(UserError, match=r"^seven is not allowed$"):
        workers.run([0, 0], jobs.stumble)
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process.*cannot pickle"):
        workers.run([threading.Lock, threading.Lock], jobs.answer_with)
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process.*ZeroDivisionError"):
        workers.run([jobs.Unreadable, jobs.Unreadable], jobs.answer_with)
    monkeypatch.setattr(workers, "JOBS_PER_WORKER", 3)
    assert len({process for _, process, _ in workers.run(range(9), seen)}) >= 3
    with pytest.raises(UserError, match=r"Ray has no GPU here"):
        workers.run([1], jobs.square, accelerator=True)


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_stage_that_was_interrupted_or_killed(project, sent):
    (project / "script.py").write_text(SCRIPT)
    (project / "begun").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen([sys.executable, "script.py"], env=environment, stderr=subprocess.PIPE)
    wait_until(lambda: len(list((project / "begun").iterdir())) == 2, stage)
    processes = descendants(stage.pid)
    assert len(processes) > 4, "Ray's own, and two workers"
    stage.send_signal(sent)
    stage.communicate(timeout=60)
    assert stage.returncode
    # after a kill -9 two of Ray's own wait 80 s for their head
    wait_until(lambda: not [process for process in processes if is_alive(process)], seconds=180)


@pytest.mark.slow
@needs_ray
def test_the_sample_has_the_bytes_of_dvc_lock_though_a_worker_is_killed(tmp_path):
    """extract, encode and two seeds of train, on two workers; one of each is killed in the middle."""
    clones.clone(tmp_path)
    write_params(tmp_path)
    (tmp_path / "data/raw/sample").symlink_to(ROOT / "data/raw/sample")
    run_and_kill_a_worker(tmp_path, "extract", "sample", finished="done/*/*.json")
    assert digests(tmp_path, "extract@sample") == locked("extract@sample")
    for stage in ("lipsync", "adapt", "finetune", "pretrain"):  # what encode and train start from
        (tmp_path / "out" / stage).symlink_to(ROOT / "out" / stage)
    for modality in ("text", "audio", "vision"):
        run_and_kill_a_worker(tmp_path, "encode", "sample", modality, finished="*/*.safetensors")
        assert digests(tmp_path, f"encode@sample-{modality}") == locked(f"encode@sample-{modality}")
    assert digest(ROOT / "out/train") == locked("train")["out/train"]
    run_and_kill_a_worker(tmp_path, "train", finished="seed-*.unfinished/*", at_least=1)
    for seed in SEEDS:
        assert digest(tmp_path / f"out/train/seed-{seed}") == digest(ROOT / f"out/train/seed-{seed}")


def run_and_kill_a_worker(folder: Path, stage: str, *items: str, finished: str, at_least: int = 2) -> None:
    """Run a stage in the folder; kill -9 one of Ray's workers once there are that many files of finished items."""
    command = [sys.executable, "-m", f"stages.{stage}", *items]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    home = folder / "out/.partial" / "-".join([stage, *items])
    wait_until(lambda: len(list(home.glob(f"*/{finished}"))) >= at_least, process)
    victim = next(one for one in descendants(process.pid) if command_line(one).startswith("ray::_Actor"))
    os.kill(victim, signal.SIGKILL)
    _, said = process.communicate(timeout=1500)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def wait_until(is_so, process: subprocess.Popen | None = None, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descendants(process: int) -> list[int]:
    """Its children and theirs."""
    found, parents = [], {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    for one, parent in sorted(parents.items()):
        while parent not in (0, process):
            parent = parents.get(parent, 0)
        found += [one] if parent == process else []
    return found


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def is_alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def locked(stage: str) -> dict[str, str]:
    """The digests of a stage's outputs in dvc.lock, as DVC writes them."""
    document = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    return {out["path"]: out["md5"] for out in document["stages"][stage]["outs"]}


def digests(folder: Path, stage: str) -> dict[str, str]:
    return {path: digest(folder / path) for path in locked(stage)}


def digest(path: Path) -> str:
    """DVC's digest of a file or a folder."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [{"md5": digest(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listed.sort(key=lambda one: one["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"

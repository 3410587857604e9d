"""adapt and finetune in several processes: the result of one, resumed by any number, ended by one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import loops
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tuned_project import ROOT, original, run_without_torch, set_up

from merc.runtime.errors import UserError
from merc.training.core import data_parallel, torchrun
from stages import adapt, finetune

ADAPT: dict[str, Any] = {
    "epochs": 4,
    "freeze_epochs": 1,
    "unfreeze_layers": 1,
    "lr": 0.01,
    "head_lr": 0.1,
    "batch": 3,
}
FINETUNE: dict[str, Any] = {
    "epochs": 3,
    "freeze_epochs": 1,
    "encoders": ["text"],
    "lr": 0.01,
    "network_lr": 0.01,
    "batch": 3,
}
# what is drawn, averaged and accumulated, layers of low rank and recomputed ones, and batches of fewer utterances
EVERYTHING: dict[str, Any] = {"lora": 2, "checkpointing": True, "average": 0.5, "accumulate": 2}
TOLERANCE = 1e-4
# a key's bias adds the same to every score of a softmax: its gradient is rounding, which Adam makes steps of
WITHOUT_EFFECT = ("key.bias", "k_proj.bias")
BROKEN = """
import os, signal
import stages
from merc.runtime import entry_point
from merc.training.core import loop
from merc.training.core.saved_training import SavedTraining
from stages import {stage}

learn, write = loop._train_epoch, SavedTraining.write

def broken(*given):
    if given[-1] == 2 and os.environ["RANK"] == "1":
        raise {error}
    return learn(*given)

def killed(saved, training):
    write(saved, training)
    if len(training.history) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

if {kill}:
    SavedTraining.write = killed
else:
    loop._train_epoch = broken
if __name__ == "__main__":
    entry_point.run({stage}.main)
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own; it must end."""
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, *command], env=settings, capture_output=True, text=True, timeout=300, check=False
    )


def in_processes(number: int, *command: str) -> subprocess.CompletedProcess[str]:
    return run(["-m", "torch.distributed.run", "--nproc-per-node", str(number), *command])


def program(stage: str, *, kill: bool = False, error: str = "None") -> str:
    """A program that runs the stage and breaks: in its second process, or as a whole when two epochs are saved."""
    Path("broken.py").write_text(BROKEN.format(stage=stage, kill=kill, error=error), encoding="utf-8")
    return "broken.py"


Outcome = tuple[dict, dict[str, list[float]], dict[str, torch.Tensor]]


def outcome(stage: str, modality: str = "text") -> Outcome:
    """Metrics, logged curves, and weights, of what has been trained here."""
    name = f"adapt-{modality}" if stage == "adapt" else stage
    metrics = Path(f"metrics/adapt/{modality}.json" if stage == "adapt" else "metrics/finetune.json")
    weights = load_file(f"out/{stage}/{modality}/model.safetensors")
    return json.loads(metrics.read_text(encoding="utf-8")), loops.logged(name), weights


def assert_alike(found: Outcome, expected: Outcome) -> None:
    assert found[0] == expected[0]
    for name, curve in expected[1].items():  # of a resumed training the epochs after it
        assert found[1][name] == pytest.approx(curve[-len(found[1][name]) :], abs=TOLERANCE), name
    for name, tensor in expected[2].items():
        if not name.endswith(WITHOUT_EFFECT):
            torch.testing.assert_close(found[2][name], tensor, atol=TOLERANCE, rtol=0, msg=name)


def moved(weights: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(weights[name], tensor) for name, tensor in original().state_dict().items())


def test_a_group_of_one_process_leaves_the_same_bytes(monkeypatch, tmp_path):
    set_up("adapt.text", **ADAPT)
    adapt.main("text")
    files = [Path("out/adapt/text/model.safetensors"), Path("metrics/adapt/text.json")]
    alone = [file.read_bytes() for file in files]
    own = {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    start = torch.distributed.init_process_group
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda: start("gloo", f"file://{tmp_path}/store", rank=0, world_size=1),
    )
    adapt.main.__wrapped__("text")  # without `reporting`, which ends the process
    assert [file.read_bytes() for file in files] == alone
    assert not torch.distributed.is_initialized()


def test_without_processes_nothing_is_divided():
    rows = [3, 1, 2]
    values = torch.ones(3, 2)
    assert data_parallel.part(rows) is rows
    assert data_parallel.gather(values) is values
    assert data_parallel.divided(lambda given: (torch.tensor(given),), rows)[0].tolist() == rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--nprocs 2", "unrecognized arguments"),
        ("--nproc-per-node two", "two"),
        ('--nproc-per-node "2', "No closing quotation"),
    ],
)
def test_options_that_torchrun_does_not_know_are_one_line(monkeypatch, options, said):
    monkeypatch.setenv("MERC_TORCHRUN", options)
    with pytest.raises(UserError, match=rf"^MERC_TORCHRUN = '{options}': [^\n]*{said}[^\n]*$"):
        torchrun.launch("finetune")


def test_a_stage_that_is_off_starts_no_processes(monkeypatch):
    monkeypatch.setenv("MERC_TORCHRUN", "--nproc-per-node 2")
    set_up("finetune", epochs=0)
    finetune.main()
    run_without_torch("finetune")
    assert not Path("out/.partial").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("merc.runtime.device.select_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="process 2 of this machine has no cuda of its own"):
        torchrun._take_device()


def trained(stage: str, section: str, number: int, *, dropout: float = 0.0, **settings: Any) -> Outcome:
    """What that many processes leave of the stage, which is run anew."""
    set_up(section, **settings)
    document = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    document["model"] |= {"dropout": dropout, "fusion": "esag", "context": "gru"}
    Path("params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    modality = [section.partition(".")[2]] if stage == "adapt" else []
    command = ["-m", f"stages.{stage}", *modality]
    done = run(command) if number == 1 else in_processes(number, *command)
    assert done.returncode == 0, done.stderr
    return outcome(stage, *modality)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "section", "settings"),
    [
        ("adapt", "adapt.text", ADAPT),
        ("adapt", "adapt.text", ADAPT | EVERYTHING | {"batch": 1, "lr": 1e-3, "head_lr": 0.01}),
        ("adapt", "adapt.audio", ADAPT | {"encoder": "mel-network", "epochs": 2, "lr": 1e-3}),
        ("finetune", "finetune", FINETUNE),
        ("finetune", "finetune", FINETUNE | EVERYTHING | {"dropout": 0.3}),
    ],
)
def test_two_processes_leave_what_one_leaves(stage, section, settings):
    one = trained(stage, section, 1, **settings)
    time.sleep(1)  # the logs of a run are named by its second
    two = trained(stage, section, 2, **settings)
    assert_alike(two, one)
    assert section == "adapt.audio" or moved(two[2])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_where_some_were_killed(before, after):
    settings = FINETUNE | {"epochs": 4, "average": 0.5}
    whole = trained("finetune", "finetune", 1, **settings)
    killed = in_processes(before, program("finetune", kill=True))
    assert killed.returncode and "SIGKILL" in killed.stderr
    assert [path.name for path in Path("out/finetune/text").iterdir()] == ["off.json"]
    time.sleep(1)
    resumed = trained("finetune", "finetune", after, **settings)
    assert len(resumed[1]["train/loss"]) == 2
    assert_alike(resumed, whole)


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_and_is_the_one_that_is_told():
    set_up("adapt.text", **ADAPT)
    done = in_processes(2, program("adapt", error="ValueError('of the second process')"), "text")
    assert done.returncode == 1
    cause = done.stderr.partition("Root Cause")[2]
    assert "ValueError: of the second process" in cause and "rank      : 1" in cause
    assert "Connection" not in done.stderr


@pytest.mark.slow
def test_a_mistake_that_all_processes_meet_is_one_line():
    set_up("adapt.text", **(ADAPT | {"head_lr": 1e30}))
    done = run(["-m", "stages.adapt", "text"], MERC_TORCHRUN="--nproc-per-node 2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("merc: adapt: text: epoch ") and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", ["0", "1"])
def test_a_killed_process_ends_the_stage_with_one_line(number):
    set_up("adapt.text", **(ADAPT | {"epochs": 10_000, "patience": 10_000}))
    settings = os.environ | {"PYTHONPATH": str(ROOT), "MERC_TORCHRUN": "--nproc-per-node 2"}
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.adapt", "text"], env=settings, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: list(Path("out/.partial").glob("adapt-text/*/state")), stage)
        started = processes_of(stage.pid)
        os.kill(started[number], signal.SIGKILL)
        _, said = stage.communicate(timeout=60)
    finally:
        stage.kill()
    assert stage.returncode == 2
    assert said.startswith(f"merc: adapt: process {number}: Signal 9 (SIGKILL)") and said.count("\n") == 1
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in started.values()))


def processes_of(stage: int) -> dict[str, int]:
    """The processes that the stage has started, by their numbers."""
    found = {}
    for process in map(int, Path(f"/proc/{stage}/task/{stage}/children").read_text().split()):
        variables = dict(
            line.split("=", 1) for line in Path(f"/proc/{process}/environ").read_text().split("\0") if "=" in line
        )
        found[variables["RANK"]] = process
    return found


def wait_until(is_so, process: subprocess.Popen | None = None, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)

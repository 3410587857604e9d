"""Seeds of a stage: what is finished survives a kill, some epochs are kept, TensorBoard can read along."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import packed
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from merc.runtime import results
from merc.runtime.errors import UserError
from merc.training.core import loop
from merc.training.core.epoch_callbacks import MAX_KEPT_EPOCHS, EpochSnapshots
from models import checkpoint
from stages import train as train_stage

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1, dialogues=12)
    packed.write_split("dev", seed=2, dialogues=6)
    return tmp_path


def outputs() -> dict[str, bytes]:
    tops = ("out/pretrain", "out/train", "out/distill", "metrics", "plots")
    return {str(path): path.read_bytes() for top in tops for path in sorted(Path(top).rglob("*")) if path.is_file()}


def parameters(folder: Path, **changes) -> None:
    packed.copy_parameters(folder, **(packed.QUICK | {"compute__workers": 1} | changes))
    results.write_json(Path("out/pretrain/off.json"), {"off": "not tried here"})


def test_a_killed_stage_goes_on_where_it_was_and_ends_the_same(folder, monkeypatch):
    parameters(folder)
    train_stage.main()
    whole = outputs()
    fit, trained = loop.fit, []

    def dying(network, *words):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(network)
        return fit(network, *words)

    monkeypatch.setattr(loop, "fit", dying)
    with pytest.raises(KeyboardInterrupt):
        train_stage.main()
    assert not Path("out/train").exists()
    trained.clear()
    train_stage.main()  # one more seed is all that may be trained
    assert outputs() == whole
    assert not any(Path("out/.partial/train").glob("*"))


def test_what_was_begun_with_other_parameters_is_not_continued(folder, monkeypatch):
    parameters(folder, train__seeds=[3])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("merc.runtime.resume.move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_stage.main()
    assert list(Path("out/.partial/train").glob("*/seed-3"))
    parameters(folder, train__seeds=[3], train__lr=0.5)
    train_stage.main()
    other = outputs()
    assert not Path("out/.partial/train").exists()
    train_stage.main()
    assert outputs() == other


def test_a_killed_worker_is_one_line_and_an_error_of_its_code_is_not(folder, monkeypatch):
    parameters(folder, compute__workers=2)

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(*_):
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr(loop, "fit", die)
    with pytest.raises(UserError, match=r"^train: 2 of 2 seeds failed: .*signal 9.*; lower compute\.workers"):
        train_stage.main()
    monkeypatch.setattr(loop, "fit", fail)
    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*ZeroDivisionError: of our own"):
        train_stage.main()


@pytest.mark.slow
def test_a_real_kill_of_the_process_ends_the_same(folder):
    parameters(folder, train__epochs=20, train__patience=20)
    command = [sys.executable, "-m", "stages.train"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, check=True)
    whole = outputs()
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    while not list(Path("out/.partial/train").glob("*/seed-3")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("out/train").exists()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "1 of 2 seeds were finished by an earlier run" in done.stdout
    assert outputs() == whole


def test_the_first_seeds_epochs_are_kept_and_the_best_is_what_is_shipped(folder):
    parameters(folder, train__epochs=5, train__patience=5)
    train_stage.main()
    log = results.read_json(Path("out/train/seed-3/epochs/log.json"))
    assert not Path("out/train/seed-4/epochs").exists()
    assert [epoch["epoch"] for epoch in log["epochs"]] == [1, 2, 3, 4, 5]
    assert log["best"] == results.read_json(Path("metrics/train.json"))["best_epoch"]["3"]
    best = load_file(f"out/train/seed-3/epochs/epoch-{log['best']}.safetensors")
    shipped = checkpoint.load("out/train/seed-3").state_dict()
    assert best.keys() == shipped.keys() and all(torch.equal(best[name], shipped[name]) for name in best)
    other = checkpoint.load("out/train/seed-3")
    other.load_state_dict(load_file(f"out/train/seed-3/epochs/{log['epochs'][0]['file']}"))


@pytest.mark.parametrize("epochs", [1, 7, 8, 9, 30, 63])
@pytest.mark.parametrize("best", [1, 4, 29, 63])
def test_no_more_than_eight_epochs_the_best_and_evenly_spaced_ones(tmp_path, epochs, best):
    keep = EpochSnapshots(tmp_path / "epochs", "dev macro_f1")
    for epoch in range(1, epochs + 1):
        keep({"epoch": epoch, loop.SCORE: -abs(epoch - best)}, nn.Linear(1, 1))
        assert len(list((tmp_path / "epochs").glob("*.safetensors"))) <= MAX_KEPT_EPOCHS
    log = results.read_json(tmp_path / "epochs/log.json")
    assert log["best"] == min(best, epochs)
    assert {one["file"] for one in log["epochs"]} == {f.name for f in (tmp_path / "epochs").glob("*.safetensors")}
    others = [one["epoch"] for one in log["epochs"] if (one["epoch"] - 1) % keep.interval == 0]
    assert others == list(range(1, epochs + 1, keep.interval)) and len(others) >= min(epochs, MAX_KEPT_EPOCHS // 2)


def test_tensorboard_reads_what_a_training_says(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    parameters(folder, train__seeds=[3])
    train_stage.main()
    events = EventAccumulator(str(next(Path("out/runs/train").glob("*/seed-3"))))
    events.Reload()
    points = events.Scalars("dev/macro_f1")
    assert [point.step for point in points] == [1, 2]
    best = results.read_json(Path("metrics/train.json"))["by_seed"]["3"]
    assert max(point.value for point in points) == pytest.approx(best, abs=1e-4)


def test_a_second_train_waits_for_the_first_then_names_it(folder, monkeypatch):
    from merc.runtime import resume

    parameters(folder)
    monkeypatch.setattr(resume, "LOCK_SECONDS", 0.1)
    moved = Path("out/train/seed-1/model.safetensors")
    moved.parent.mkdir(parents=True, exist_ok=True)
    moved.touch()
    with resume.locked("train"), pytest.raises(UserError, match=f"process {os.getpid()} is at work there"):
        train_stage.main()
    assert moved.exists(), "what the first one has moved there already is left alone"

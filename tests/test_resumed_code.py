"""A stage that is killed, edited and begun again starts anew, whichever file of its code was edited."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import scenes
import yaml
from closure import ROOT
from whole_run import merged

SLOWLY = {"epochs": 60, "freeze_epochs": 0, "head_lr": 0.003, "batch": 8}


def adapt(params: dict) -> dict:
    """What adapt needs: extracted utterances, and an encoder that learns from random weights."""
    Path("data/weights").mkdir(parents=True)
    scenes.extracted("train", "sample", 24, seed=0)
    scenes.extracted("dev", "sample", 8, seed=100)
    return merged(params, {"encode": {"audio": {"encoder": "mel-network"}}, "adapt": {"audio": SLOWLY}})


def encode(params: dict) -> dict:
    """What encode needs: more utterances than go into one shard."""
    Path("data/weights").mkdir(parents=True)
    for split, count in {"train": 260, "dev": 4, "test": 4}.items():
        scenes.extracted(split, "sample", count, seed=0)
    return params


# what sets the stage up, its item, and the files that say that a part of its work is finished
STAGES = {
    "adapt": (adapt, ["audio"], "state/state.json"),
    "encode": (encode, ["sample", "vision"], "train/*.safetensors"),
}


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """The repository's code in a folder of its own, entered."""
    for name in ("merc", "models", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def run(stage: str, item: list[str], until: Callable[[], object]) -> tuple[list[str], str]:
    """The stage in a fresh process, killed once `until()` holds: this repository's modules in the order in which
    they were first imported, and what was printed.
    """
    with Path("imports").open("w") as imports, Path("printed").open("w") as printed:
        command = [sys.executable, "-u", "-X", "importtime", "-m", f"stages.{stage}", *item]
        process = subprocess.Popen(command, stdout=printed, stderr=imports)
        deadline = time.monotonic() + 120
        while process.poll() is None and not until() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        process.wait()
    names = re.findall(r"^import time:.*\| +((?:merc|models|stages)\S*)$", Path("imports").read_text(), re.M)
    return list(dict.fromkeys(names)), Path("printed").read_text()


def file_of(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("stage", STAGES)
def test_work_begun_by_other_code_is_never_continued(copy, stage):
    """The file edited is the one that the killed run imported last, long after its work had a name."""
    set_up, item, finished = STAGES[stage]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params = set_up(merged(params, {"compute": {"workers": 1, "device": "cpu"}}))
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    home = Path("out/.partial") / "-".join([stage, *item])

    def begun() -> set[str]:
        return {path.name for path in home.iterdir()} if home.is_dir() else set()

    imported, said = run(stage, item, lambda: any(home.glob(f"*/{finished}")))
    first = begun()
    assert len(first) == 1, said
    edited = file_of(imported[-1])
    with edited.open("a", encoding="utf-8") as file:
        file.write("\n# edited\n")
    _, said = run(stage, item, lambda: begun() - first)
    assert first < begun(), f"{edited} was edited: {said}"
    assert "earlier run" not in said

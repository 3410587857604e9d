"""A stage that is killed, edited and begun again starts anew, whichever file of its code was edited."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import extracted
import pytest
import scenes
import yaml
from closure import ROOT
from whole_run import merged

EDIT = "\n# edited\n"
SLOWLY = {"epochs": 60, "freeze_epochs": 0, "head_lr": 0.003, "batch": 8}


def extract(params: dict) -> dict:
    """What extract needs: a corpus of enough utterances to be killed in."""
    extracted.corpus(Path("data/raw/sample"), count=60)
    extracted.truthless(Path())
    return params


def adapt(params: dict) -> dict:
    """What adapt needs: extracted utterances, and an encoder that learns from random weights."""
    Path("data/weights").mkdir(parents=True)
    scenes.extracted("train", "sample", 24, seed=0)
    scenes.extracted("dev", "sample", 8, seed=100)
    return merged(params, {"encode": {"audio": {"encoder": "mel-network"}}, "adapt": {"audio": SLOWLY}})


# what sets the stage up, its item, and the files that say that a part of its work is finished
STAGES = {
    "extract": (extract, "sample", "done/*/*.json"),
    "adapt": (adapt, "audio", "state/state.json"),
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


def run(stage: str, item: str, until) -> tuple[list[str], str]:
    """The stage in a fresh process, killed once `until()` holds: this repository's modules in the order in which they
    were first imported, and what was printed.
    """
    with Path("imports").open("w") as imports, Path("printed").open("w") as printed:
        command = [sys.executable, "-u", "-X", "importtime", "-m", f"stages.{stage}", item]
        process = subprocess.Popen(command, stdout=printed, stderr=imports)
        deadline = time.monotonic() + 60
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
    """The file edited is the one imported last, when the digest of the code was taken long ago."""
    set_up, item, finished = STAGES[stage]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params = set_up(merged(params, {"compute": {"workers": 1, "device": "cpu"}}))
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    home = Path("out/.partial") / f"{stage}-{item}"

    def begun() -> set[str]:
        """The digests under which something is finished."""
        return {path.relative_to(home).parts[0] for path in home.glob(f"*/{finished}")}

    imported, said = run(stage, item, begun)
    assert len(first := begun()) == 1, said
    edited = file_of(imported[-1])
    text = edited.read_text(encoding="utf-8")
    edited.write_text(text + EDIT, encoding="utf-8")
    _, said = run(stage, item, lambda: begun() - first or "earlier run" in Path("printed").read_text())
    assert "earlier run" not in said and len(begun()) == 2, f"{edited} was edited: {said}"
    edited.write_text(text, encoding="utf-8")
    _, said = run(stage, item, lambda: "earlier run" in Path("printed").read_text())
    assert "earlier run" in said
    print(edited)

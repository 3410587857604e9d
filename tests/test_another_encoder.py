"""What a real `dvc repro` executes after another encoder was chosen: its encodings, what follows, no more."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from closure import ROOT
from whole_run import SMALL, merged, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LAST = "train"  # the stages after it follow from it in any case
QUICK = merged(SMALL, {"compute": {"workers": 1}, "train": {"epochs": 1}, "pretrain": {"epochs": 1}})


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The repository as it stands, in one of its own, with a small corpus and every stage up to `train` done."""
    copy = tmp_path_factory.mktemp("project") / "merc"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    write_params(copy, QUICK)
    assert "encode@sample-audio" in executed(copy)
    assert not executed(copy)
    return copy


def executed(folder: Path) -> set[str]:
    """The stages that `dvc repro` really ran, by its own account."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", LAST],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name.split(":")[-1] for name in re.findall(r"Running stage '([^']+)'", done.stdout)}


def contents(folder: Path, modality: str) -> dict[str, int]:
    packs = (folder / "out/encode").rglob(f"*.{modality}.safetensors")
    return {str(path): path.stat().st_mtime_ns for path in packs}


def test_another_audio_encoder_encodes_sound_again_and_neither_words_nor_pictures(project):
    before = {modality: contents(project, modality) for modality in ("text", "audio", "vision")}
    write_params(project, merged(QUICK, {"encode": {"audio": {"encoder": "log-mel"}}}))
    assert executed(project) == {"adapt@audio", "finetune", "encode@sample-audio", "pretrain", "train"}
    for modality in ("text", "vision"):
        assert contents(project, modality) == before[modality]
    assert contents(project, "audio") != before["audio"]


def test_the_first_encoder_again_comes_out_of_the_cache(project):
    """DVC keeps for later no stage with an uncached file under `outs`, as the curves of pretrain and train are."""
    write_params(project, QUICK)
    assert executed(project) <= {"pretrain", "train"}

"""Every stage's main() in turn, in this process, on a corpus of some 48 utterances."""

import importlib
import shutil
from pathlib import Path

import yaml
from closure import ROOT, instances

FROM_TRAINING = ("lipsync", "adapt", "finetune", "pretrain", "train", "distill", "export")
ORDER = [
    "sample",
    "extract",
    "lipsync",
    "adapt",
    "finetune",
    "encode",
    "pretrain",
    "train",
    "distill",
    "evaluate",
    "explain",
    "export",
]  # of dvc.yaml, by its dependencies
SMALL = {
    "sample": {"utterances": {"train": 30, "dev": 9, "test": 9}},
    "train": {"seeds": [1], "epochs": 3},
    "distill": {"epochs": 4, "phase_epochs": 2},
    "pretrain": {"epochs": 2},
    "lipsync": {"epochs": 1},
    "evaluate": {"repeats": 2},
    "compute": {"workers": 2},
}
HIDDEN = ("data/raw", "out/extract/test", "out/encode/test")


def merged(node: dict, overlay: dict) -> dict:
    return node | {k: merged(node[k], v) if isinstance(v, dict) and k in node else v for k, v in overlay.items()}


def write_params(folder: Path, overlay: dict) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump(merged(params, overlay)), encoding="utf-8")


def prepare(folder: Path) -> None:
    for name in ("data/weights", "data/features"):
        shutil.copytree(ROOT / name, folder / name)
    write_params(folder, SMALL)


def run_all(folder: Path, corpora: list[str] | None = None) -> None:
    """What `dvc repro` runs, in this process; test and raw data are out of sight of every training stage."""
    for stage in ORDER:
        hidden = [folder / name for name in HIDDEN if stage in FROM_TRAINING and (folder / name).exists()]
        for path in hidden:
            path.rename(path.with_name(path.name + ".hidden"))
        module = importlib.import_module(f"stages.{stage}")
        for _, item, _ in (one for one in instances(corpora) if one[0] == stage):
            module.main(*item.values())
        for path in hidden:
            path.with_name(path.name + ".hidden").rename(path)

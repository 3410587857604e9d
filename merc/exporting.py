"""The folder that a student ships in: everything to predict, nothing to train, and a hash of every file."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from merc.params import Strict
from merc.problem import Problem
from merc.results import read_json, write_json

FORMAT = 1  # of the folder; newer code reads older ones, never the other way round
HASHES = "hashes.json"
NETWORKS = (".safetensors", ".onnx")
CHECKPOINT = ("config.json", "model.safetensors", "calibration.json")


class ExportConfig(Strict):
    """Section `export` of params.yaml."""

    seed: int | Literal["best"]


def choose(seed: int | Literal["best"], seeds: list[int], by_seed: Mapping[str, float | None]) -> int:
    """The seed that is shipped; the best on dev is the earlier one of equals."""
    if seed == "best":
        return max(seeds, key=lambda one: (by_seed[str(one)] or 0.0, -seeds.index(one)))
    if seed not in seeds:
        raise Problem(f"params.yaml: export.seed = {seed}: choose best or one of train.seeds, {seeds}")
    return seed


def copy_checkpoint(source: Path, folder: Path) -> None:
    """The network with its calibration."""
    for name in CHECKPOINT:
        shutil.copyfile(source / name, folder / name)


def copy_stage(source: Path, folder: Path) -> bool:
    """What a stage that may be off left in its folder, if it is on."""
    if not (source / "model.safetensors").is_file():
        return False
    folder.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, folder / path.name)
    return True


def seal(folder: Path) -> None:
    """Write down what every file must be; the last thing that is written."""
    write_json(
        folder / HASHES, {"format": FORMAT, "files": {name: sha256(folder / name) for name in _files(folder)}}
    )


def verify(folder: Path) -> dict[str, str]:
    """Refuse, by name, a folder that is newer than this code, incomplete, or not what was exported."""
    if not (folder / HASHES).is_file():
        raise Problem(f"{folder}: no exported model ({HASHES} is missing); run `dvc repro export`")
    known = read_json(folder / HASHES)
    if known["format"] > FORMAT:
        raise Problem(f"{folder}: format {known['format']} is newer than this code's {FORMAT}; update merc")
    there = set(_files(folder))
    for name, digest in known["files"].items():
        if name not in there:
            raise Problem(f"{folder / name}: is missing; export or copy the model again")
        if sha256(folder / name) != digest:
            raise Problem(f"{folder / name}: was changed after the export; export or copy the model again")
    if extra := sorted(there - set(known["files"])):
        raise Problem(f"{folder / extra[0]}: does not belong to the model; remove it")
    return known["files"]


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of all files together, and of each that holds a network."""
    names = [*_files(folder), HASHES]
    networks = [name for name in names if name.endswith(NETWORKS)]
    every = {name: (folder / name).stat().st_size for name in names}
    return {"total": sum(every.values()), **{name: every[name] for name in networks}}


def sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != HASHES)

"""The exported folder: chooses the seed, copies files, writes and verifies the hash of every file."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel
from merc.runtime.results import read_json, write_json

# version of the folder's format: 2 has tokenizers and transformers' digests of weights, 3 typicality, 4 may have
# what is usual of speakers
FORMAT, OLDEST = 4, 3
HASHES = "hashes.json"
COLOURS = "colours.json"  # class -> #rrggbb, where the label space has any
REMEDY = "export or copy the model again"
MAX_JSON_BYTES = 2**20  # of a description; a real one has a few thousand
NETWORKS = (".safetensors", ".onnx")
CHECKPOINT = ("config.json", "model.safetensors", "calibration.json")


class ExportConfig(StrictModel):
    """Section `export` of params.yaml."""

    seed: int | Literal["best"]


def choose_seed(
    seed: int | Literal["best"], seeds: list[int], by_seed: Mapping[str, float | None], sign: int = 1
) -> int:
    """The seed to export; "best" is the one with the highest dev score (lowest: sign -1), the first of equals."""
    if seed == "best":
        return max(seeds, key=lambda candidate: (sign * (by_seed[str(candidate)] or 0.0), -seeds.index(candidate)))
    if seed not in seeds:
        raise UserError(f"params.yaml: export.seed = {seed}: choose best or one of train.seeds, {seeds}")
    return seed


def copy_checkpoint(source: Path, folder: Path) -> None:
    """Copy the network and its calibration."""
    for name in CHECKPOINT:
        shutil.copyfile(source / name, folder / name)


def copy_stage(source: Path, folder: Path) -> bool:
    """Copy the files of an optional stage; False if it is off."""
    if not (source / "model.safetensors").is_file():
        return False
    folder.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, folder / path.name)
    return True


def write_hashes(folder: Path) -> None:
    """Write the hashes of all files; must be called last."""
    hashes = {name: sha256(folder / name) for name in _files(folder)}
    write_json(folder / HASHES, {"format": FORMAT, "files": hashes})


def verify(folder: Path, trust: str | None = None) -> dict[str, str]:
    """Return the hashes; refuse a folder of another format, or with a missing, changed or additional file.

    `trust`: the SHA-256 that hashes.json must have; whoever changes a file can write its hash there, too.
    """
    path = folder / HASHES
    if not path.is_file():
        raise UserError(f"{folder}: no exported model ({HASHES} is missing); run `dvc repro export`")
    if trust is not None and (found := sha256(path)) != trust.strip().lower():
        raise UserError(f"{path}: has the SHA-256 {found}, not {trust[:80]}; get the model from whoever named that")
    hashes = read_description(path)
    version, files = (hashes.get(key) if isinstance(hashes, dict) else None for key in ("format", "files"))
    if not isinstance(version, int) or not isinstance(files, dict):
        raise UserError(f"{path}: holds no format and hashes of a model; {REMEDY}")
    if not OLDEST <= version <= FORMAT:
        remedy = f"newer than this code's {FORMAT}; update merc" if version > FORMAT else "old; export it again"
        raise UserError(f"{folder}: format {version} is {remedy}")
    names = set(_files(folder))
    for name, digest in files.items():
        if name not in names:
            raise UserError(f"{folder / name}: is missing; {REMEDY}")
        if sha256(folder / name) != digest:
            raise UserError(f"{folder / name}: was changed after the export; {REMEDY}")
    if extra := sorted(names - set(files)):
        raise UserError(f"{folder / extra[0]}: does not belong to the model; remove it")
    return files


def read_description(path: Path) -> Any:
    """Content of one of the folder's JSON files; a large one is refused before it is read."""
    if path.is_file() and (size := path.stat().st_size) > MAX_JSON_BYTES:
        raise UserError(f"{path}: has {size:,} bytes, and a description at most {MAX_JSON_BYTES:,}; {REMEDY}")
    return read_json(path)


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of all files together, and of each file that contains a network."""
    names = [*_files(folder), HASHES]
    networks = [name for name in names if name.endswith(NETWORKS)]
    size_of = {name: (folder / name).stat().st_size for name in names}
    return {"total": sum(size_of.values()), **{name: size_of[name] for name in networks}}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[str]:
    """Relative names of all files but the hashes, sorted."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != HASHES)

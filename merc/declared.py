"""The code that a stage depends on, as dvc.yaml declares it: what DVC reruns the stage for, and nothing else."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from merc.problem import Problem

FILE = "dvc.yaml"
CODE = ("merc", "models", "stages")  # folders of the repository; any other dependency is data


def stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of a repository's dvc.yaml, in its order."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in Python alone 1,000 lines take half a second
    return yaml.load((root / FILE).read_text(encoding="utf-8"), loader)["stages"]


def code(root: Path, stage: Mapping[str, Any], item: Mapping[str, str]) -> set[Path]:
    """The files of code among the deps of one instance of a matrix stage; of a folder, every file below it."""
    deps = [Path(_filled(dep, item)) for dep in stage.get("deps", [])]
    return {file for dep in deps if dep.parts[0] in CODE for file in _files(root, dep)}


def digests(root: Path, files: Iterable[Path]) -> list[str]:
    """'<path> <SHA-256 of the content>' of each file, by path."""
    return [f"{file.as_posix()} {hashlib.sha256((root / file).read_bytes()).hexdigest()}" for file in sorted(files)]


def _filled(dep: str, item: Mapping[str, str]) -> str:
    for key, value in item.items():
        dep = dep.replace(f"${{item.{key}}}", value)
    return dep


def _files(root: Path, dep: Path) -> list[Path]:
    """As paths below the root."""
    if (root / dep).is_file():
        return [dep]
    if not (root / dep).is_dir():
        raise Problem(f"{FILE}: the dependency {dep} is not there; bring it back (git checkout -- {dep})")
    found = [path.relative_to(root) for path in (root / dep).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]

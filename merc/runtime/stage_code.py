"""The code files that a stage depends on, as dvc.yaml declares them: DVC reruns it when one of them changes."""

import hashlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from merc.runtime.errors import UserError
from merc.runtime.params import LOADER

FILE = "dvc.yaml"
CODE_FOLDERS = ("merc", "models", "stages")  # top-level folders with code; any other dependency is data


def read_stages(root: Path) -> dict[str, dict[str, Any]]:
    """Read the stages of a repository's dvc.yaml, in file order."""
    return yaml.load((root / FILE).read_text(encoding="utf-8"), LOADER)["stages"]


def code_files(root: Path, stage: Mapping[str, Any], item: Mapping[str, str]) -> set[Path]:
    """Code files among the deps of one instance of a matrix stage; a folder stands for every file below it."""
    deps = [Path(_substitute_item(dep, item)) for dep in stage.get("deps", [])]
    return {file for dep in deps if dep.parts[0] in CODE_FOLDERS for file in _list_files(root, dep)}


def file_digests(root: Path, files: Iterable[Path]) -> list[str]:
    """List '<path> <SHA-256 of the content>' for each file, sorted by path."""
    return [f"{file.as_posix()} {hashlib.sha256((root / file).read_bytes()).hexdigest()}" for file in sorted(files)]


def _substitute_item(dep: str, item: Mapping[str, str]) -> str:
    """Replace ${item.<key>} in a dependency of a matrix stage."""
    for key, value in item.items():
        dep = dep.replace(f"${{item.{key}}}", value)
    return dep


def _list_files(root: Path, dep: Path) -> list[Path]:
    """List the files of a dependency as paths relative to the root, without those that DVC ignores."""
    if (root / dep).is_file():
        return [dep]
    if not (root / dep).is_dir():
        raise UserError(f"{FILE}: the dependency {dep} is not there; bring it back (git checkout -- {dep})")
    files = [path.relative_to(root) for path in (root / dep).rglob("*") if path.is_file()]
    patterns = _ignore_patterns(root)
    return [
        path for path in files if not any(fnmatch(part, pattern) for part in path.parts for pattern in patterns)
    ]


def _ignore_patterns(root: Path) -> list[str]:
    """Patterns of .dvcignore, each for a file or folder name (the paths are of data): what DVC leaves out."""
    file = root / ".dvcignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line.rstrip("/").replace("\\", "") for line in lines if line.strip() and not line.startswith("#")]

"""Work in progress that survives a kill: out/.partial/<name>/<digest>/, locked, moved to the output at the end.

The digest names everything that the result depends on, so that work begun with other parameters or other code is
never continued.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from merc import declared, numerics
from merc.problem import Problem

ROOT = Path("out/.partial")
LOCK_SECONDS = 15.0  # a stage whose DVC was killed needs up to 5 to notice
REPOSITORY = Path(__file__).resolve().parent.parent


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """out/.partial/<name>/, for this process alone; the name is <stage>, or <stage>-<item> of a matrix stage."""
    home = ROOT / name
    home.mkdir(parents=True, exist_ok=True)
    holder = ROOT / f"{name}.holder"
    try:
        with filelock.FileLock(ROOT / f"{name}.lock", timeout=LOCK_SECONDS):
            holder.write_text(str(os.getpid()), encoding="utf-8")
            yield home
    except filelock.Timeout:
        process = holder.read_text(encoding="utf-8") if holder.is_file() else "unknown"
        raise Problem(
            f"{home}: process {process} is at work there; wait for it, or end it: kill {process}"
        ) from None


def folder(home: Path, inputs: Any) -> Path:
    """The folder for these inputs (whatever JSON can write) and the code as it is; what is in it is finished."""
    everything = json.dumps([inputs, numerics.chosen(), _code(home.name)], sort_keys=True)
    place = home / hashlib.sha256(everything.encode()).hexdigest()[:16]
    place.mkdir(exist_ok=True)
    return place


def source(path: Path) -> tuple[str, int, int]:
    """What identifies a source file without reading it: name, size, time of its last change."""
    state = path.stat()
    return path.name, state.st_size, state.st_mtime_ns


def sources(*folders: Path) -> list[tuple[str, int, int]]:
    """What identifies every file below the folders."""
    found = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return [source(path) for path in found if path.is_file()]


def move(origin: Path, target: Path) -> None:
    """Put a finished folder in the output's place."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    origin.rename(target)


def clear(home: Path) -> None:
    """Forget this work and what was begun with other inputs."""
    shutil.rmtree(home)


def _code(name: str) -> list[str]:
    """Digests of all code that dvc.yaml declares for the stage: what is imported later in the run counts too."""
    stage, *item = name.split("-")
    own = declared.stages(REPOSITORY)[stage]
    return declared.digests(
        REPOSITORY, declared.code(REPOSITORY, own, dict(zip(own.get("matrix", {}), item, strict=True)))
    )

"""Checkpoint folders of unfinished work, out/.partial/<name>/<digest>/: locked, moved to the output at the end.

The digest covers everything that the result depends on, so that work started with other parameters or other code is
never resumed.
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

from merc.runtime import numerics, stage_code
from merc.runtime.errors import UserError

ROOT = Path("out/.partial")
LOCK_SECONDS = 15.0  # a stage needs up to 5 to notice that its DVC was killed
REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def locked(name: str, seconds: float | None = None) -> Iterator[Path]:
    """Lock and yield out/.partial/<name>/; the name is <stage>, or <stage>-<item> for a matrix stage.

    Waits LOCK_SECONDS for the lock, or as long as said.
    """
    home = ROOT / name
    home.mkdir(parents=True, exist_ok=True)
    holder = ROOT / f"{name}.holder"
    try:
        with filelock.FileLock(ROOT / f"{name}.lock", timeout=seconds or LOCK_SECONDS):
            holder.write_text(str(os.getpid()), encoding="utf-8")
            yield home
    except filelock.Timeout:
        process = holder.read_text(encoding="utf-8") if holder.is_file() else "unknown"
        raise UserError(
            f"{home}: process {process} is at work there; wait for it, or end it: kill {process}"
        ) from None


def work_folder(home: Path, inputs: Any) -> Path:
    """Create the folder for these inputs (any JSON value) and the current code; files in it are complete."""
    state = json.dumps([inputs, numerics.configured_mode(), _code_digests(home.name)], sort_keys=True)
    path = home / hashlib.sha256(state.encode()).hexdigest()[:16]
    path.mkdir(exist_ok=True)
    return path


def file_identity(path: Path) -> tuple[str, int, int]:
    """Identify a source file without reading it: name, size, modification time in ns."""
    state = path.stat()
    return path.name, state.st_size, state.st_mtime_ns


def folder_identities(*folders: Path) -> list[tuple[str, int, int]]:
    """Identify every file below the folders, see `source`."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return [file_identity(path) for path in paths if path.is_file()]


def move(origin: Path, target: Path) -> None:
    """Replace the output folder `target` by the finished folder `origin`."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    origin.rename(target)


def discard(home: Path) -> None:
    """Delete this work, including what was started with other inputs."""
    shutil.rmtree(home)


def _code_digests(name: str) -> list[str]:
    """Digests of all code that dvc.yaml declares for the stage, imported already or not."""
    stage_name, *item = name.split("-")
    stage = stage_code.read_stages(REPOSITORY)[stage_name]
    files = stage_code.code_files(REPOSITORY, stage, dict(zip(stage.get("matrix", {}), item, strict=True)))
    return stage_code.file_digests(REPOSITORY, files)

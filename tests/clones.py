"""A repository of its own with this one's files, in which DVC is used as a user uses it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from closure import ROOT


def clone(folder: Path) -> Path:
    """What Git tracks here, or would, committed in a new repository with an empty cache; no data, no outputs."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def commit(folder: Path) -> None:
    """What `dvc exp run` needs: a first commit, and somebody who makes it."""
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["add", "-A"], ["commit", "-qm", "As it is"]):
        subprocess.run(["git", *author, *words], cwd=folder, check=True)


def run(folder: Path, *words: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """`python -m ...` there, with this Python first on PATH, as the stages' `python` needs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PATH": path} | identity
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )

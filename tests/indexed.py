"""Files as Git's index has them: what is committed, or, where a commit is prepared, what will be.

Committed texts are compared with committed metrics. Before a commit the index shows metrics that were added without
the README that repeats them, or the other way round; after it, index and commit are the same. What lies in the
working tree may come of `make repro` on another processor, whose numbers nobody has promised.
"""

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def committed(path: str) -> str:
    """A text file of the repository; skips the test that asks where there is no Git to ask."""
    show = ["git", "show", f":./{path}"]
    try:
        done = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    except OSError:
        pytest.skip("Git is not installed: nobody knows what was committed")
    if done.returncode:
        pytest.skip(f"nobody knows what was committed: {done.stderr.strip()}")
    return done.stdout

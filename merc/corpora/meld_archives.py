"""Unpacks MELD's nested archives, .tar or .zip, in one pass without a copy, and nothing but tables and clips."""

import calendar
import hashlib
import json
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from merc.corpora.meld_files import CLIP, SPLIT_FOLDERS, TABLE
from merc.problem import Problem

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
# MELD.Raw.tar.gz as its authors publish it
OFFICIAL_NAME = "MELD.Raw.tar.gz"
OFFICIAL_SHA256 = "a56b4407d574195cbce470d86f9c9d72fcfea59b0e34502ecd4babee4a5c613e"
# a password is a RuntimeError, an unknown compression a NotImplementedError, which is one
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
)
Member = tuple[str, float, IO[bytes]]  # path in the archive, time of change, content


def unpack(folder: Path, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    """Unpack what the archives below the folder have of these splits; what is worth reporting."""
    archives = sorted(path for path in folder.rglob("*") if path.name.endswith(SUFFIXES) and path.name[0] != ".")
    return [note for archive in archives for note in _unpack_once(archive, scratch, splits)]


def _unpack_once(archive: Path, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    """A killed run's finished archives are not unpacked again."""
    state = archive.stat()
    marker = scratch / f"{archive.name}-{state.st_size}-{state.st_mtime_ns}-{'-'.join(splits)}.json"
    if marker.is_file():
        return json.loads(marker.read_text(encoding="utf-8"))
    scratch.mkdir(parents=True, exist_ok=True)
    print(f"extract: unpacking {archive.name}")
    notes = _unpack(archive, scratch, splits)
    aside = marker.with_suffix(".aside")
    aside.write_text(json.dumps(notes), encoding="utf-8")
    aside.replace(marker)
    return notes


def _unpack(archive: Path, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    with archive.open("rb") as file:
        hashed = file if archive.suffix == ".zip" else _Hashed(file)
        try:
            notes = _members(archive.name, hashed, _split_of(archive.name), scratch, splits)
            shutil.copyfileobj(hashed, _Nowhere(), 1 << 20)  # what follows the end of the archive
        except BROKEN as error:
            raise Problem(f"{archive}: cannot be unpacked ({error}); download it again") from None
    if archive.name == OFFICIAL_NAME and hashed.digest.hexdigest() != OFFICIAL_SHA256:
        reason = f"its sha256 is {hashed.digest.hexdigest()}, not the published {OFFICIAL_SHA256}"
        notes.append({"split": None, "item": archive.name, "reason": reason})
    return notes


def _members(
    archive: str, file: IO[bytes], split: str | None, scratch: Path, splits: list[str]
) -> list[dict[str, Any]]:
    notes = []
    for path, changed, content in (_zip if archive.endswith(".zip") else _tar)(file):
        name = PurePosixPath(path).name
        if name.endswith(".zip") and not content.seekable():
            notes.append({"split": split, "item": path, "reason": "a .zip in a .tar: unpack the .tar yourself"})
        elif name.endswith(SUFFIXES) and name[0] != ".":
            notes += _members(name, content, _split_of(name) or split, scratch, splits)
        else:
            notes += _save(name, changed, content, _folder_split(path) or split, scratch, splits)
    return notes


def _tar(file: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r|*") as opened:
        for member in opened:
            if member.isreg():
                yield member.name, member.mtime, opened.extractfile(member)


def _zip(file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as opened:
        for member in opened.infolist():
            if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                with opened.open(member) as content:
                    yield member.filename.replace("\\", "/"), _changed(member), content


def _changed(member: zipfile.ZipInfo) -> int:
    """A .zip knows the local time of who knows where; a month or day of 0 is found in some."""
    year, month, day, *clock = member.date_time
    return calendar.timegm((year, max(month, 1), max(day, 1), *clock))


def _save(
    name: str, changed: float, content: IO[bytes], split: str | None, scratch: Path, splits: list[str]
) -> list[dict[str, Any]]:
    if TABLE.fullmatch(name):
        _write(scratch / name, content, changed)
    elif CLIP.fullmatch(name) and split in splits:
        _write(scratch / split / name, content, changed)
    elif name.endswith(".mp4") and split in splits:
        return [{"split": split, "item": name, "reason": "not a name of MELD's: dia<D>_utt<U>.mp4"}]
    return []


def _write(path: Path, content: IO[bytes], changed: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    os.utime(path, (changed, changed))  # unpacked again, it is the same file


def _split_of(archive: str) -> str | None:
    return SPLIT_FOLDERS.get(archive.split(".")[0])


def _folder_split(member: str) -> str | None:
    folders = reversed(PurePosixPath(member).parts[:-1])
    return next((SPLIT_FOLDERS[part] for part in folders if part in SPLIT_FOLDERS), None)


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.digest.update(content)
        return content


class _Nowhere:
    """Takes what nobody needs."""

    def write(self, content: bytes) -> int:
        return len(content)

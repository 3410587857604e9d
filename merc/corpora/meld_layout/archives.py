"""Unpack only the tables and clips of MELD's nested archives (.tar, .zip), in one pass and without a copy."""

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

from merc.corpora.meld_layout.files import CLIP_PATTERN, SPLIT_FOLDERS, TABLE_PATTERN, folder_split
from merc.runtime.errors import UserError

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
# MELD.Raw.tar.gz as its authors publish it
OFFICIAL_NAME = "MELD.Raw.tar.gz"
OFFICIAL_SHA256 = "a56b4407d574195cbce470d86f9c9d72fcfea59b0e34502ecd4babee4a5c613e"
# RuntimeError: a password; its subclass NotImplementedError: an unknown compression
ARCHIVE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
)
Member = tuple[str, float, IO[bytes]]  # path in the archive, modification time, content


def unpack_archives(folder: Path, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    """Unpack tables, and clips of these splits, from all archives below the folder; returns report entries."""
    archives = sorted(path for path in folder.rglob("*") if path.name.endswith(SUFFIXES) and path.name[0] != ".")
    return [note for archive in archives for note in _unpack_once(archive, scratch, splits)]


def _unpack_once(archive: Path, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    """Unpack an archive unless a killed run has finished it, as a marker file says."""
    state = archive.stat()
    marker = scratch / f"{archive.name}-{state.st_size}-{state.st_mtime_ns}-{'-'.join(splits)}.json"
    if marker.is_file():
        return json.loads(marker.read_text(encoding="utf-8"))
    scratch.mkdir(parents=True, exist_ok=True)
    print(f"extract: unpacking {archive.name}")
    notes = _unpack(archive, scratch, splits)
    temporary = marker.with_suffix(".aside")
    temporary.write_text(json.dumps(notes), encoding="utf-8")
    temporary.replace(marker)
    return notes


def _unpack(archive: Path, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    with archive.open("rb") as file:
        try:
            notes = _unpack_members(archive.name, file, _split_of(archive.name), scratch, splits)
        except ARCHIVE_ERRORS as error:
            raise UserError(f"{archive}: cannot be unpacked ({error}); download it again") from None
        file.seek(0)
        is_official = archive.name == OFFICIAL_NAME
        if is_official and (digest := hashlib.file_digest(file, "sha256").hexdigest()) != OFFICIAL_SHA256:
            reason = f"its sha256 is {digest}, not the published {OFFICIAL_SHA256}"
            notes.append({"split": None, "item": archive.name, "reason": reason})
    return notes


def _unpack_members(
    archive: str, file: IO[bytes], split: str | None, scratch: Path, splits: list[str]
) -> list[dict[str, Any]]:
    """Unpack the members of an archive, recursing into inner archives."""
    notes = []
    for path, modified, content in (_zip if archive.endswith(".zip") else _tar)(file):
        name = PurePosixPath(path).name
        if name.endswith(".zip") and not content.seekable():
            notes.append({"split": split, "item": path, "reason": "a .zip in a .tar: unpack the .tar yourself"})
        elif name.endswith(SUFFIXES) and name[0] != ".":
            notes += _unpack_members(name, content, _split_of(name) or split, scratch, splits)
        else:
            notes += _save(name, modified, content, folder_split(path) or split, scratch, splits)
    return notes


def _tar(file: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                yield member.name, member.mtime, content


def _zip(file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                with archive.open(member) as content:
                    yield member.filename.replace("\\", "/"), _modification_time(member), content


def _modification_time(member: zipfile.ZipInfo) -> int:
    """Modification time, read as UTC (a .zip holds local time without a zone); some have a month or day of 0."""
    year, month, day, *clock = member.date_time
    return calendar.timegm((year, max(month, 1), max(day, 1), *clock))


def _save(
    name: str, modified: float, content: IO[bytes], split: str | None, scratch: Path, splits: list[str]
) -> list[dict[str, Any]]:
    """Write a member if it is a table, or a clip of a wanted split; returns report entries."""
    if TABLE_PATTERN.fullmatch(name):
        _write(scratch / name, content, modified)
    elif CLIP_PATTERN.fullmatch(name) and split in splits:
        _write(scratch / split / name, content, modified)
    elif name.endswith(".mp4") and split in splits:
        return [{"split": split, "item": name, "reason": "not a name of MELD's: dia<D>_utt<U>.mp4"}]
    return []


def _write(path: Path, content: IO[bytes], modified: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    os.utime(path, (modified, modified))  # so that unpacking again gives an identical file


def _split_of(archive: str) -> str | None:
    """Split named by an archive's name."""
    return SPLIT_FOLDERS.get(archive.split(".")[0])

"""Unpacks MELD's nested archives, one pass, no intermediate copy, and nothing but tables and clips."""

import hashlib
import json
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from merc.corpora.meld_files import CLIP, SPLIT_FOLDERS, TABLE
from merc.problem import Problem

SUFFIXES = (".tar.gz", ".tgz", ".tar")
# MELD.Raw.tar.gz as its authors publish it
OFFICIAL_NAME = "MELD.Raw.tar.gz"
OFFICIAL_SHA256 = "a56b4407d574195cbce470d86f9c9d72fcfea59b0e34502ecd4babee4a5c613e"
BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)


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
        hashed = _Hashed(file)
        try:
            notes = _members(hashed, _split_of(archive.name), scratch, splits)
            shutil.copyfileobj(hashed, _Nowhere(), 1 << 20)  # what follows the end of the archive
        except BROKEN as error:
            raise Problem(f"{archive}: cannot be unpacked ({error}); download it again") from None
    if archive.name == OFFICIAL_NAME and hashed.digest.hexdigest() != OFFICIAL_SHA256:
        reason = f"its sha256 is {hashed.digest.hexdigest()}, not the published {OFFICIAL_SHA256}"
        notes.append({"split": None, "item": archive.name, "reason": reason})
    return notes


def _members(file: IO[bytes], split: str | None, scratch: Path, splits: list[str]) -> list[dict[str, Any]]:
    notes = []
    with tarfile.open(fileobj=file, mode="r|*") as opened:
        for member in opened:
            content = opened.extractfile(member) if member.isreg() else None
            name = PurePosixPath(member.name).name
            if content is None:
                continue
            if name.endswith(SUFFIXES) and name[0] != ".":
                notes += _members(content, _split_of(name) or split, scratch, splits)
            else:
                notes += _save(member, content, _folder_split(member.name) or split, scratch, splits)
    return notes


def _save(
    member: tarfile.TarInfo, content: IO[bytes], split: str | None, scratch: Path, splits: list[str]
) -> list[dict[str, Any]]:
    name = PurePosixPath(member.name).name
    if TABLE.fullmatch(name):
        _write(scratch / name, content, member.mtime)
    elif CLIP.fullmatch(name) and split in splits:
        _write(scratch / split / name, content, member.mtime)
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

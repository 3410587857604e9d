"""Zip archives and folders as the same thing: files with a way to each. Nothing is ever unpacked to disk."""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from merc.problem import Problem

LARGEST = 2**30  # bytes that any archive may unpack to; a larger one, a hundred times its own size
RATIO = 100


@dataclass(frozen=True)
class Member:
    """A file in an archive or a folder."""

    way: tuple[str, ...]  # folders and name
    read: Callable[[], bytes]


def of_folder(folder: Path) -> Iterator[Member]:
    """Every file below the folder, in an order that no file system decides."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.as_posix()):
        if path.is_file() and not _of_a_system(way := path.relative_to(folder).parts):
            yield Member(way, path.read_bytes)


def of_zip(content: bytes) -> Iterator[Member]:
    """Every file of an archive whose names stay inside of it and whose size is no trap."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    check_size(archive, len(content))
    for entry in archive.infolist():
        way = _way(entry.filename)
        if entry.flag_bits & 1:
            raise Problem(f"holds {entry.filename!r} under a password; unpack it yourself")
        if not entry.is_dir() and not _of_a_system(way):
            yield Member(way, lambda entry=entry: archive.read(entry))


def check_size(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive that unpacks to far more than it is."""
    total, limit = sum(entry.file_size for entry in archive.infolist()), largest(size)
    if total > limit:
        raise Problem(f"unpacks to {total:,} bytes, more than {limit:,}: taken for a trap; unpack it yourself")


def largest(size: int) -> int:
    """How many bytes so many bytes may become."""
    return max(LARGEST, RATIO * size)


def _way(name: str) -> tuple[str, ...]:
    way = tuple(name.replace("\\", "/").rstrip("/").split("/"))
    if name.startswith(("/", "\\")) or ".." in way or ":" in way[0]:
        raise Problem(f"holds {name!r}, a path that leads out of it; refused")
    return tuple(part for part in way if part not in ("", "."))


def _of_a_system(way: tuple[str, ...]) -> bool:
    """What archivers and file managers leave behind."""
    return any(part.startswith(".") or part == "__MACOSX" for part in way)

"""Files in zip archives and folders, through one interface; archives are never unpacked to disk."""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from merc.runtime.errors import UserError

MAX_UNPACKED_BYTES = 2**30  # bytes to which any archive may unpack
MAX_UNPACK_RATIO = 100  # unpacked size / archive size that is always allowed


@dataclass(frozen=True)
class Member:
    """A file in an archive or a folder."""

    path: tuple[str, ...]  # folders and file name
    read: Callable[[], bytes]


def folder_members(folder: Path) -> Iterator[Member]:
    """Every file below the folder, sorted by path."""
    for file in sorted(folder.rglob("*"), key=lambda path: path.as_posix()):
        if file.is_file() and not _is_system_file(path := file.relative_to(folder).parts):
            yield Member(path, file.read_bytes)


def zip_members(content: bytes) -> Iterator[Member]:
    """Every file of an archive; refuses paths that leave it, passwords and zip bombs."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    check_size(archive, len(content))
    for entry in archive.infolist():
        path = _member_path(entry.filename)
        if entry.flag_bits & 1:
            raise UserError(f"holds {entry.filename!r} under a password; unpack it yourself")
        if not entry.is_dir() and not _is_system_file(path):
            yield Member(path, lambda entry=entry: archive.read(entry))


def check_size(archive: zipfile.ZipFile, size: int) -> None:
    """Raise a UserError if an archive unpacks to far more than its size."""
    total, limit = sum(entry.file_size for entry in archive.infolist()), max_unpacked_bytes(size)
    if total > limit:
        raise UserError(f"unpacks to {total:,} bytes, more than {limit:,}: taken for a trap; unpack it yourself")


def max_unpacked_bytes(size: int) -> int:
    """Maximum unpacked size of an archive of this size, in bytes."""
    return max(MAX_UNPACKED_BYTES, MAX_UNPACK_RATIO * size)


def _member_path(name: str) -> tuple[str, ...]:
    path = tuple(name.replace("\\", "/").rstrip("/").split("/"))
    if name.startswith(("/", "\\")) or ".." in path or ":" in path[0]:
        raise UserError(f"holds {name!r}, a path that leads out of it; refused")
    return tuple(part for part in path if part not in ("", "."))


def _is_system_file(path: tuple[str, ...]) -> bool:
    """Whether a file was left by an archiver or a file manager."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path)

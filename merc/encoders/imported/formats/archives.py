"""Files in zip archives and folders, through one interface; archives are never unpacked to disk."""

import io
import zipfile
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from merc.encoders.imported.formats.budget import Budget
from merc.runtime.errors import UserError

PIECE_BYTES = 2**20  # unpacked at once: zipfile unpacks as much as is asked for before it looks at the entry's size
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks the others as a whole, whatever is asked for


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


def zip_members(content: bytes, budget: Budget) -> Iterator[Member]:
    """Every file of an archive; refuses paths that leave it, passwords and zip bombs."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    check_size(archive, budget)
    for entry in archive.infolist():
        path = _member_path(entry.filename)
        if entry.flag_bits & 1:
            raise UserError(f"holds {entry.filename!r} under a password; unpack it yourself")
        if not entry.is_dir() and not _is_system_file(path):
            yield Member(path, lambda entry=entry: read_entry(archive, entry, budget))


def check_size(archive: zipfile.ZipFile, budget: Budget) -> None:
    """Raise a UserError if an archive claims more than its budget: it would be read for nothing."""
    copy(budget).take(sum(entry.file_size for entry in archive.infolist()))


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: Budget) -> bytes:
    """Content of an entry, counted while it is unpacked."""
    if entry.compress_type not in METHODS:
        raise UserError(f"holds {entry.filename!r}, packed otherwise than by deflate; unpack it yourself")
    pieces = []
    with archive.open(entry) as file:
        while piece := file.read(PIECE_BYTES):
            budget.take(len(piece))
            pieces.append(piece)
    return b"".join(pieces)


def _member_path(name: str) -> tuple[str, ...]:
    path = tuple(name.replace("\\", "/").rstrip("/").split("/"))
    if name.startswith(("/", "\\")) or ".." in path or ":" in path[0]:
        raise UserError(f"holds {name!r}, a path that leads out of it; refused")
    return tuple(part for part in path if part not in ("", "."))


def _is_system_file(path: tuple[str, ...]) -> bool:
    """Whether a file was left by an archiver or a file manager."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path)

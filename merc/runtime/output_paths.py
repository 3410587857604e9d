"""Checks, before any work, that a command can write where it is told to."""

from pathlib import Path

from merc.runtime.errors import UserError


def check_file(option: str, path: Path) -> None:
    """Refuse a path at which no file can be: a folder, or one below a file."""
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder; name a file in it")
    if (file := _first_file(path.parent)) is not None:
        raise UserError(f"{option} {path}: {file} is a file; name a folder there")


def check_folder(option: str, path: Path) -> None:
    """Refuse a path at which no folder can be: a file, or one below a file."""
    if (file := _first_file(path)) is not None:
        raise UserError(f"{option} {path}: {file} is a file; name a folder there")


def _first_file(path: Path) -> Path | None:
    """What is no folder, of the path and what is above it."""
    return next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)

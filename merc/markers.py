"""The marker that a stage which is off, or has no input, leaves in an output folder."""

import shutil
from pathlib import Path

from merc.results import write_json


def write_off(folder: Path, reason: str) -> None:
    """The folder with nothing but off.json, constant for one reason."""
    empty(folder)
    write_json(folder / "off.json", {"off": reason})


def empty(folder: Path) -> None:
    """A new, empty folder in place of whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

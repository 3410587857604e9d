"""Loads the networks that training stages saved; a missing or damaged file becomes a one-line UserError."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from merc.runtime.errors import UserError

NetworkT = TypeVar("NetworkT")


def load_network(load: Callable[..., NetworkT], folder: Path, *arguments: Any, **keywords: Any) -> NetworkT:
    """Call `load` (of models.checkpoint) on the folder `out/<stage>/seed-<n>`; its ValueError becomes a UserError.

    An UnreadableCheckpoint (of models.checkpoint) and different labels are ValueErrors: run the stage again.
    """
    try:
        return load(folder, *arguments, **keywords)
    except ValueError as error:
        raise UserError(f"{error}; run `dvc repro {folder.parent.name}`") from None

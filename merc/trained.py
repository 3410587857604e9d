"""Trained networks that may be absent or half-written: one line for the user instead of a traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from merc.problem import Problem

N = TypeVar("N")


def network(load: Callable[..., N], folder: Path, *options: Any, **named: Any) -> N:
    """What `load` (of models.checkpoint) reads from a stage's `seed-<n>` folder."""
    try:
        return load(folder, *options, **named)
    except ValueError as error:
        raise Problem(f"{error}; run `dvc repro {folder.parent.name}`") from None

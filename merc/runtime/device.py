"""Selection of the torch device from compute.device in params.yaml."""

import multiprocessing
import sys
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch

from merc.runtime import numerics, params
from merc.runtime.errors import UserError

AVAILABLE: dict[str, Callable[[], bool]] = {
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
    "cpu": lambda: True,
}


def select_device() -> torch.device:
    """Device set by compute.device; auto = the first available of cuda, mps, cpu."""
    name: str = params.read("compute.device", Literal["auto", "cpu", "cuda", "mps"])
    if name == "auto":
        name = next(candidate for candidate, is_available in AVAILABLE.items() if is_available())
    elif not AVAILABLE[name]():
        raise UserError(f"{params.FILE}: compute.device = {name!r}: not available on this machine; use auto or cpu")
    if name != "cpu" and multiprocessing.parent_process() is None:
        _warn_once(name)
    return torch.device(name)


@cache
def _warn_once(name: str) -> None:
    """Warn if this device's numbers differ from the portable ones."""
    if line := numerics.portability_warning(name):
        print(line, file=sys.stderr)

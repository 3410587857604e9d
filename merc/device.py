"""Where tensors live: compute.device, which can change speed but is no part of any result that a CPU computes."""

import multiprocessing
import sys
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch

from merc import numerics, params
from merc.problem import Problem

AVAILABLE: dict[str, Callable[[], bool]] = {
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
    "cpu": lambda: True,
}


def device() -> torch.device:
    """The device that compute.device asks for; auto = the first of cuda, mps, cpu that is there."""
    asked = params.read("compute.device", Literal["auto", "cpu", "cuda", "mps"])
    if asked == "auto":
        asked = next(name for name, is_there in AVAILABLE.items() if is_there())
    elif not AVAILABLE[asked]():
        raise Problem(f"{params.FILE}: compute.device = {asked!r}: not available on this machine; use auto or cpu")
    if asked != "cpu" and multiprocessing.parent_process() is None:
        _warn_once(asked)
    return torch.device(asked)


@cache
def _warn_once(name: str) -> None:
    if line := numerics.warning(name):
        print(line, file=sys.stderr)

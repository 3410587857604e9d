"""Where tensors live: compute.device, which can change speed but is no part of any result."""

from collections.abc import Callable
from typing import Literal

import torch

from merc import params
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
        return torch.device(next(name for name, is_there in AVAILABLE.items() if is_there()))
    if not AVAILABLE[asked]():
        raise Problem(f"{params.FILE}: compute.device = {asked!r}: not available on this machine; use auto or cpu")
    return torch.device(asked)

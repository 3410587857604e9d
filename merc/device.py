"""Where tensors live: compute.device, which can change speed but is no part of any result."""

from typing import Literal

import torch

from merc import params
from merc.problem import Problem


def device() -> torch.device:
    """The device that compute.device asks for; auto = the first of cuda, mps, cpu that is there."""
    asked = params.read("compute.device", Literal["auto", "cpu", "cuda", "mps"])
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return torch.device(next(name for name, available in there.items() if available))
    if not there[asked]:
        raise Problem(f"{params.FILE}: compute.device = {asked!r}: not available on this machine; use auto or cpu")
    return torch.device(asked)

"""Sequences of different lengths: padded (n, S, D), or packed (R, D), their real steps one after another."""

from typing import cast

import torch
from torch import Tensor


def step_mask(steps: Tensor, size: int | Tensor) -> Tensor:
    """(n, size) bool mask of sequences of `steps` (n,) steps: True for real steps, False for padding."""
    return torch.arange(cast(int, size), device=steps.device) < steps.unsqueeze(1)


def pack(values: Tensor, steps: Tensor) -> Tensor:
    """Padded values (n, S, D) -> packed (R, D), R the sum of `steps` (n,)."""
    return values[step_mask(steps, values.shape[1])]


def pad(values: Tensor, steps: Tensor, size: int | Tensor) -> Tensor:
    """Packed values (R, D) -> padded (n, size, D), 0 beyond the last step."""
    mask = step_mask(steps, size)
    padded = values.new_zeros(*mask.shape, values.shape[1])
    padded[mask] = values
    return padded


def masked_mean(values: Tensor, steps: Tensor) -> Tensor:
    """(n, D) mean over the real steps of padded values (n, S, D); 0 where there are none."""
    weights = step_mask(steps, values.shape[1]).to(values.dtype) / steps.clamp(min=1).unsqueeze(1)
    return (weights.unsqueeze(1) @ values).squeeze(1)


def longest(steps: Tensor) -> Tensor:
    """The number of steps of the longest sequence, at least 1: a tensor, so that an export does not fix it."""
    return torch.cat([steps, steps.new_ones(1)]).max()

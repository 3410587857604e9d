"""Standardise features by the training split's statistics, and measure how far an utterance deviates from them."""

from typing import cast

import torch
from torch import Tensor, nn

from models.stems import pad_packed, step_mask

MAX_DEVIATION = 20.0  # upper bound, above any real feature's: infinite values must give a finite number


class Standardise(nn.Module):
    """x' = (x - mean) / std with the training split's statistics; NaN and infinities become 0, the mean."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fill(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics (D,); a constant or never observed dimension (NaN) is centred but not scaled."""
        self.mean.copy_(torch.nan_to_num(torch.as_tensor(mean, dtype=torch.float32)))
        std = torch.as_tensor(std, dtype=torch.float32)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        scale = 1 / self.std
        scaled = torch.addcmul(-self.mean * scale, values.float(), scale)  # a single pass over memory
        if self.training and not values.requires_grad:
            return scaled.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        return torch.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)


def feature_deviation(values: Tensor, steps: Tensor) -> Tensor:
    """(n,) log(1 + mean square over steps and features) of standardised steps, padded (n, S, D) or packed.

    About log 2 for features like those of training, whose mean square is 1 after standardisation. Noise of s
    standard deviations adds s^2 to the mean square.
    """
    if values.dim() == 2:
        norm = cast(Tensor, torch.linalg.vector_norm(values, dim=1, keepdim=True))  # pyright: ignore[reportUnknownMemberType] torch.linalg is untyped
        padded = pad_packed(norm.square() / values.shape[1], steps)
    else:
        padded = values.square()  # a norm would fix the sizes in an ONNX export
    mask = step_mask(steps, padded.shape[1]).unsqueeze(-1)
    return ((padded * mask).mean(2).sum(1) / steps.clamp(min=1)).log1p().clamp(max=MAX_DEVIATION)

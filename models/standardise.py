"""Standardise features by the training split's statistics, take out the directions that tell speakers apart, and
measure how far an utterance deviates from that split.
"""

import torch
from torch import Tensor, nn

from models.sequences import longest, pad

MAX_DEVIATION = 20.0  # upper bound, above any real feature's: infinite values must give a finite number


class Standardise(nn.Module):
    """x' = z - U U^T z with z = (x - mean) / std by the training split; NaN and infinities become 0, the mean.

    The columns of U (D, K) are the directions of the speakers (docs/pretraining.md); without any x' = z.
    """

    mean: Tensor
    std: Tensor
    directions: Tensor | None

    def __init__(self, dim: int, directions: int = 0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("directions", torch.zeros(dim, directions) if directions else None)

    def fill(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics (D,); a constant or never observed dimension (NaN) is centred but not scaled."""
        self.mean.copy_(torch.nan_to_num(torch.as_tensor(mean, dtype=torch.float32)))
        std = torch.as_tensor(std, dtype=torch.float32)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def take_out(self, directions: Tensor) -> None:
        """Set the directions (D, K), orthonormal."""
        self.directions = directions.to(self.mean).contiguous() if directions.shape[1] else None

    def forward(self, values: Tensor) -> Tensor:
        scaled = torch.addcmul(-self.mean / self.std, values.float(), 1 / self.std)
        scaled = torch.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
        return scaled if self.directions is None else scaled - (scaled @ self.directions) @ self.directions.T


def feature_deviation(values: Tensor, steps: Tensor) -> Tensor:
    """(n,) log(1 + mean square over steps and features) of n utterances' standardised values (R, D), packed.

    About log 2 for features like those of training, whose mean square is 1 after standardisation. Noise of s
    standard deviations adds s^2 to the mean square.
    """
    mean_square = pad(values.square().mean(1, keepdim=True), steps, longest(steps)).sum((1, 2)) / steps.clamp(min=1)
    return mean_square.log1p().clamp(max=MAX_DEVIATION)

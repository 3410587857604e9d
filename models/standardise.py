"""Standardise features by the training split's statistics, and measure how far an utterance deviates from it."""

from typing import Any

import torch
from torch import Tensor, nn

from models.sequences import longest, pad

MAX_DEVIATION = 20.0  # upper bound, above any real feature's: infinite values must give a finite number


class Standardise(nn.Module):
    """x' = (x - mean) / std by the training split; NaN and infinities become 0, the mean."""

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
        scaled = torch.addcmul(-self.mean / self.std, values.float(), 1 / self.std)
        return torch.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)


def speaker_centred(batch: dict[str, Any], stream: str) -> Tensor:
    """(n, S, D) values of a stream less the offsets of the speakers, if the batch has any."""
    values, offsets = batch["values"][stream], batch.get("speaker_offsets", {}).get(stream)  # offsets (N, D)
    return values if offsets is None else values - offsets[batch["rows"][stream]].unsqueeze(1)


def feature_deviation(values: Tensor, steps: Tensor) -> Tensor:
    """(n,) log(1 + mean square over steps and features) of n utterances' standardised values (R, D), packed.

    About log 2 for features like those of training, whose mean square is 1 after standardisation. Noise of s
    standard deviations adds s^2 to the mean square.
    """
    mean_square = pad(values.square().mean(1, keepdim=True), steps, longest(steps)).sum((1, 2)) / steps.clamp(min=1)
    return mean_square.log1p().clamp(max=MAX_DEVIATION)

"""Features on the scale of the training split, and how far from it an utterance lies."""

import torch
from torch import Tensor, nn

from models.stems import pad, within

ODDEST = 20.0  # the log of a mean square beyond any feature's: what is infinite must stay a number


class Standardise(nn.Module):
    """x' = (x - mean) / std by the training split's statistics; what is no number becomes 0, the mean."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fill(self, mean: Tensor, std: Tensor) -> None:
        """A dimension that is constant, or was never seen, is centred and left unscaled."""
        self.mean.copy_(torch.nan_to_num(torch.as_tensor(mean, dtype=torch.float32)))
        std = torch.as_tensor(std, dtype=torch.float32)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        scale = 1 / self.std
        scaled = torch.addcmul(-self.mean * scale, values.float(), scale)  # one walk through the memory
        if self.training and not values.requires_grad:
            return scaled.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        return torch.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)


def oddity(values: Tensor, steps: Tensor) -> Tensor:
    """(n,) log(1 + mean square over steps and features) of standardised steps, padded or packed.

    About log 2 for what is as in training, where standardised features have a mean square of 1. Noise of s standard
    deviations adds s^2 to it.
    """
    if values.dim() == 2:
        padded = pad(torch.linalg.vector_norm(values, dim=1, keepdim=True).square() / values.shape[1], steps)
    else:
        padded = values.square()  # a norm would fix sizes in an export
    real = within(steps, padded.shape[1]).unsqueeze(-1)
    return ((padded * real).mean(2).sum(1) / steps.clamp(min=1)).log1p().clamp(max=ODDEST)

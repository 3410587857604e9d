"""Dropout that draws 16 random bits per value on a CPU."""

import torch
from torch import Tensor, nn

LEVELS = 2**16  # of 16 bits; p is rounded to a multiple of 1 / 2**16


class Dropout(nn.Dropout):
    """y = x k / P(k = 1), k = 0 with probability p (Srivastava et al. 2014), as PyTorch's.

    On a CPU PyTorch draws 64 bits per value, which takes a tenth of our training step; 16 are enough.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        threshold = round(self.p * LEVELS)
        bits = torch.empty(input.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
        uniform = bits.view(torch.int16)[: input.numel()].view(input.shape)  # in [-2**15, 2**15)
        # 1.0 or 0.0 directly: five times as fast as through a bool
        mask = torch.ge(uniform, threshold - LEVELS // 2, out=torch.empty_like(input, requires_grad=False))
        return input * mask.mul_(LEVELS / (LEVELS - threshold))

"""Dropout whose chance is drawn 16 bits at a time."""

import torch
from torch import Tensor, nn

VALUES = 2**16  # that 16 bits have: a chance is rounded to this fineness


class Dropout(nn.Dropout):
    """y = x k / P(k = 1), k = 0 with chance p (Srivastava et al. 2014), as PyTorch's.

    On a CPU PyTorch draws 64 bits a number, a tenth of a training step of ours; 16 are enough.
    """

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.p or values.device.type != "cpu":
            return super().forward(values)
        dropped = round(self.p * VALUES)
        drawn = torch.empty(values.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
        chances = drawn.view(torch.int16)[: values.numel()].view(values.shape)
        # 1.0 or 0.0 at once: five times as fast as by way of a bool
        kept = torch.ge(chances, dropped - VALUES // 2, out=torch.empty_like(values, requires_grad=False))
        return values * kept.mul_(VALUES / (VALUES - dropped))

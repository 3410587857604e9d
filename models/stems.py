"""Stems: from an encoder's steps to the network's width, one per stream (modality and encoder).

Steps come padded (n, S, D), or packed (sum of steps, D), one utterance after another: nothing is spent on padding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.dropout import Dropout
from models.packed import Beside, Laid, Larger, Taken

LONGEST = 8  # steps that a conv1d stem leaves of an utterance (ours)


def within(steps: Tensor, size: int) -> Tensor:
    """(n, size) bool: which of the padded steps are real."""
    return torch.arange(size, device=steps.device) < steps.unsqueeze(1)


def pad(values: Tensor, steps: Tensor) -> Tensor:
    """Packed steps (sum of steps, D), one utterance after another -> (n, S, D), 0 beyond the last step."""
    size, rows = int(steps.max()) if len(steps) else 0, torch.arange(len(steps), device=steps.device)
    padded = Laid.apply(values, positions(steps, size, rows), len(steps) * size)
    return padded.view(len(steps), size, values.shape[1])


def pack(values: Tensor, steps: Tensor) -> Tensor:
    """The way back: (n, S, D) -> (sum of steps, D)."""
    rows = torch.arange(len(steps), device=steps.device)
    return Taken.apply(values.flatten(0, 1), positions(steps, values.shape[1], rows))


def positions(steps: Tensor, size: int, rows: Tensor) -> Tensor:
    """(sum of steps,): where each step of each utterance lies when its row `rows` (n,) is `size` long."""
    before = torch.repeat_interleave(rows * size, steps)
    first = torch.repeat_interleave(steps.cumsum(0) - steps, steps)
    return before + torch.arange(len(first), device=steps.device) - first


def adaptive_average(values: Tensor, steps: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Average each utterance's steps s = 0..L-1 into K = min(L, longest) bins [floor(kL/K), ceil((k+1)L/K)).

    The bins of `torch.nn.functional.adaptive_avg_pool1d`, for ragged lengths; up to `longest` steps stay.
    """
    bins, length = steps.clamp(max=longest).view(-1, 1, 1), steps.view(-1, 1, 1)
    bin_ = torch.arange(longest, device=steps.device).view(1, -1, 1)
    step = torch.arange(values.shape[1], device=steps.device).view(1, 1, -1)
    first, end = bin_ * length // bins, ((bin_ + 1) * length + bins - 1) // bins
    inside = (step >= first) & (step < end) & (bin_ < bins)  # (n, longest, S)
    share = inside.to(values.dtype) / inside.sum(-1, keepdim=True).clamp(min=1)
    return share @ values, steps.clamp(max=longest)


def halve(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of steps 2s and 2s + 1 (MaxPool1d) of values that are 0 beyond the last step and never below."""
    values = functional.pad(values, (0, 0, 0, 1))
    return torch.maximum(values[:, :-1:2], values[:, 1::2]), (steps + 1) // 2


def halve_packed(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """The same of packed steps."""
    left = (steps + 1) // 2
    number = torch.repeat_interleave(torch.arange(len(steps), device=steps.device), left)
    before = (left.cumsum(0) - left)[number]
    even = (steps.cumsum(0) - steps)[number] + 2 * (torch.arange(len(number), device=steps.device) - before)
    odd = torch.minimum(even + 1, steps.cumsum(0)[number] - 1)  # a last one without a partner is its own
    return Larger.apply(values, even, odd), left


class MaskedBatchNorm(nn.BatchNorm1d):
    """y = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta (Ioffe and Szegedy 2015), E and Var over real steps alone.

    So the amount of padding changes nothing in training either; a single step is allowed.
    """

    def forward(self, values: Tensor, real: Tensor) -> Tensor:
        """values (..., D), real (...) bool."""
        values = values.float()
        if not self.training:
            return super().forward(values.flatten(0, -2)).view_as(values)
        mean, variance = self._measure(values, real)
        return (values - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    def whole(self, values: Tensor) -> Tensor:
        """values (N, D), all of them real."""
        if self.training and len(values) == 1:  # torch refuses to measure one
            return self(values, torch.ones_like(values[:, 0], dtype=torch.bool))
        return super().forward(values.float())

    def _measure(self, values: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        flat, share = values.flatten(0, -2), real.flatten().unsqueeze(1).float()
        count = share.sum().clamp(min=1)
        mean = (flat * share).sum(0) / count
        variance = ((flat - mean).square() * share).sum(0) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), self.momentum)
            self.num_batches_tracked.add_(1)
        return mean, variance


class Linear(nn.Module):
    """h_s = W x_s + b."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), Dropout(dropout))

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(values), steps


class MLP(nn.Module):
    """h_s = Dropout(ReLU(W x_s + b))."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), nn.ReLU(), Dropout(dropout))

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(values), steps


class Conv1d(nn.Module):
    """h = W AdaptiveAverage(block(MaxPool2(block(x)))) + b with block(x) = ReLU(BatchNorm(Conv3(x))).

    The usual small convolution over a spectrogram. Ours: the adaptive average keeps up to LONGEST steps, not one,
    so that token-level fusion still sees a sequence; padding is masked before every convolution.
    """

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.first, self.second = nn.Conv1d(dim_in, dim, 3, padding=1), nn.Conv1d(dim, dim, 3, padding=1)
        self.first_norm, self.second_norm = MaskedBatchNorm(dim), MaskedBatchNorm(dim)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(dim, dim)

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        block, half = (_packed_block, halve_packed) if values.dim() == 2 else (_block, halve)
        values = block(self.first, self.first_norm, values, steps)
        values, steps = half(values, steps)
        values = block(self.second, self.second_norm, self.dropout(values), steps)
        padded = pad(values, steps) if values.dim() == 2 else values
        padded, left = adaptive_average(padded, steps, LONGEST)
        values = pack(padded, left) if values.dim() == 2 else padded
        return self.out(self.dropout(values)), left


def _block(convolution: nn.Conv1d, norm: MaskedBatchNorm, values: Tensor, steps: Tensor) -> Tensor:
    """ReLU(BatchNorm(Conv(x))), with zeros beyond the last step before and after."""
    real = within(steps, values.shape[1])
    values = convolution(values.masked_fill(~real.unsqueeze(-1), 0).transpose(1, 2)).transpose(1, 2)
    return torch.relu(norm(values, real)).masked_fill(~real.unsqueeze(-1), 0)


def _packed_block(convolution: nn.Conv1d, norm: MaskedBatchNorm, values: Tensor, steps: Tensor) -> Tensor:
    """The same of packed steps: each stands beside its utterance's one before and one after, in one product."""
    taps = convolution.weight.permute(2, 1, 0).flatten(0, 1)  # (3 D_in, D)
    end = steps.cumsum(0)
    inner = torch.ones(len(values), 1, device=values.device).index_fill(0, end - 1, 0)[:-1]  # 0: another's follows
    return torch.relu(norm.whole(torch.addmm(convolution.bias, Beside.apply(values, inner), taps)))


STEMS = {"linear": Linear, "mlp": MLP, "conv1d": Conv1d}

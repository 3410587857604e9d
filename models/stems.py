"""Stems: map an encoder's features to the network's dimension, one stem per stream (modality and encoder).

An utterance's features are a sequence of steps; `steps` (n,) are their numbers. Values are padded (n, S, D), or, to
spend no time on padding, packed (sum of steps, D): the utterances' steps one after another.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.dropout import Dropout
from models.packed import GatherRows, PairMaximum, ScatterRows, WithNeighbours

MAX_STEPS = 8  # maximum number of steps of an utterance after a conv1d stem (ours)


def step_mask(steps: Tensor, size: int) -> Tensor:
    """(n, size) bool mask: True for real steps, False for padding."""
    return torch.arange(size, device=steps.device) < steps.unsqueeze(1)


def pad_packed(values: Tensor, steps: Tensor) -> Tensor:
    """Packed values (sum of steps, D) -> padded (n, S, D), 0 beyond the last step."""
    size, rows = int(steps.max()) if len(steps) else 0, torch.arange(len(steps), device=steps.device)
    padded = ScatterRows.apply(values, flat_indices(steps, size, rows), len(steps) * size)
    return padded.view(len(steps), size, values.shape[1])


def pack_padded(values: Tensor, steps: Tensor) -> Tensor:
    """Padded values (n, S, D) -> packed (sum of steps, D)."""
    rows = torch.arange(len(steps), device=steps.device)
    return GatherRows.apply(values.flatten(0, 1), flat_indices(steps, values.shape[1], rows))


def flat_indices(steps: Tensor, size: int, rows: Tensor) -> Tensor:
    """Indices (sum of steps,) of packed steps in a flattened padded tensor with rows of `size` steps."""
    row_start = torch.repeat_interleave(rows * size, steps)
    packed_start = torch.repeat_interleave(steps.cumsum(0) - steps, steps)
    return row_start + torch.arange(len(packed_start), device=steps.device) - packed_start


def adaptive_average(values: Tensor, steps: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Average each utterance's steps s = 0..L-1 into K = min(L, longest) bins [floor(kL/K), ceil((k+1)L/K)).

    The bins are those of `torch.nn.functional.adaptive_avg_pool1d`, here for sequences of different lengths.
    Returns (n, longest, D) and K (n,).
    """
    bins, length = steps.clamp(max=longest).view(-1, 1, 1), steps.view(-1, 1, 1)
    bin_ = torch.arange(longest, device=steps.device).view(1, -1, 1)
    step = torch.arange(values.shape[1], device=steps.device).view(1, 1, -1)
    first, end = bin_ * length // bins, ((bin_ + 1) * length + bins - 1) // bins
    inside = (step >= first) & (step < end) & (bin_ < bins)  # (n, longest, S)
    weights = inside.to(values.dtype) / inside.sum(-1, keepdim=True).clamp(min=1)
    return weights @ values, steps.clamp(max=longest)


def max_pool_pairs(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Max-pool steps 2s and 2s + 1 (MaxPool1d(2)) of non-negative values that are 0 beyond the last step."""
    values = functional.pad(values, (0, 0, 0, 1))
    return torch.maximum(values[:, :-1:2], values[:, 1::2]), (steps + 1) // 2


def max_pool_pairs_packed(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """As `max_pool_pairs`, of packed values."""
    halved = (steps + 1) // 2
    utterance = torch.repeat_interleave(torch.arange(len(steps), device=steps.device), halved)
    start = (halved.cumsum(0) - halved)[utterance]
    even = (steps.cumsum(0) - steps)[utterance] + 2 * (torch.arange(len(utterance), device=steps.device) - start)
    odd = torch.minimum(even + 1, steps.cumsum(0)[utterance] - 1)  # a last step without a partner: itself
    return PairMaximum.apply(values, even, odd), halved


class MaskedBatchNorm(nn.BatchNorm1d):
    """y = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta (Ioffe and Szegedy 2015), E and Var over real steps only.

    So the amount of padding does not change training; a single step is allowed.
    """

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] nn.Module passes on any arguments
        self, values: Tensor, mask: Tensor
    ) -> Tensor:
        """Normalise values (..., D); mask (...) bool is True for real steps."""
        values = values.float()
        if not self.training:
            # contiguous: for a transposed view (a batch of one) PyTorch takes a square root that is not portable
            return super().forward(values.flatten(0, -2).contiguous()).view_as(values)
        mean, variance = self._statistics(values, mask)
        return (values - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    def without_mask(self, values: Tensor) -> Tensor:
        """Normalise values (N, D) without padding."""
        if self.training and len(values) == 1:  # torch refuses a single row
            return self(values, torch.ones_like(values[:, 0], dtype=torch.bool))
        return super().forward(values.float())

    def _statistics(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (D,) of the real steps; updates the running statistics."""
        flat, weights = values.flatten(0, -2), mask.flatten().unsqueeze(1).float()
        count = weights.sum().clamp(min=1)
        mean = (flat * weights).sum(0) / count
        variance = ((flat - mean).square() * weights).sum(0) / count
        with torch.no_grad():
            momentum = cast(float, self.momentum)  # not None, as the statistics below: nn.BatchNorm1d's defaults
            cast(Tensor, self.running_mean).lerp_(mean, momentum)
            cast(Tensor, self.running_var).lerp_(variance * count / (count - 1).clamp(min=1), momentum)
            cast(Tensor, self.num_batches_tracked).add_(1)
        return mean, variance


class LinearStem(nn.Module):
    """h_s = W x_s + b."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), Dropout(dropout))

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(values), steps


class MLPStem(nn.Module):
    """h_s = Dropout(ReLU(W x_s + b))."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), nn.ReLU(), Dropout(dropout))

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(values), steps


class Conv1dStem(nn.Module):
    """h = W AdaptiveAverage(block(MaxPool2(block(x)))) + b with block(x) = ReLU(BatchNorm(Conv3(x))).

    The usual small convolutional network over a spectrogram. Ours: the adaptive average keeps up to 8 steps, not
    one, so that token-level fusion still has a sequence; padding is masked before every convolution.
    """

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.first, self.second = nn.Conv1d(dim_in, dim, 3, padding=1), nn.Conv1d(dim, dim, 3, padding=1)
        self.first_norm, self.second_norm = MaskedBatchNorm(dim), MaskedBatchNorm(dim)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(dim, dim)

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        block, max_pool = (_packed_block, max_pool_pairs_packed) if values.dim() == 2 else (_block, max_pool_pairs)
        values = block(self.first, self.first_norm, values, steps)
        values, steps = max_pool(values, steps)
        values = block(self.second, self.second_norm, self.dropout(values), steps)
        padded = pad_packed(values, steps) if values.dim() == 2 else values
        padded, bins = adaptive_average(padded, steps, MAX_STEPS)
        values = pack_padded(padded, bins) if values.dim() == 2 else padded
        return self.out(self.dropout(values)), bins


def _block(convolution: nn.Conv1d, norm: MaskedBatchNorm, values: Tensor, steps: Tensor) -> Tensor:
    """ReLU(BatchNorm(Conv(x))) of padded values (n, S, D), zeroed beyond the last step before and after."""
    mask = step_mask(steps, values.shape[1])
    values = convolution(values.masked_fill(~mask.unsqueeze(-1), 0).transpose(1, 2)).transpose(1, 2)
    return torch.relu(norm(values, mask)).masked_fill(~mask.unsqueeze(-1), 0)


def _packed_block(convolution: nn.Conv1d, norm: MaskedBatchNorm, values: Tensor, steps: Tensor) -> Tensor:
    """As `_block`, of packed values: a single product of each step concatenated with its neighbours."""
    kernel = convolution.weight.permute(2, 1, 0).flatten(0, 1)  # (3 D_in, D)
    end = steps.cumsum(0)
    # (N - 1, 1): 0 after the last step of an utterance
    inner = torch.ones(len(values), 1, device=values.device).index_fill(0, end - 1, 0)[:-1]
    bias = cast(Tensor, convolution.bias)
    return torch.relu(norm.without_mask(torch.addmm(bias, WithNeighbours.apply(values, inner), kernel)))


STEMS = {"linear": LinearStem, "mlp": MLPStem, "conv1d": Conv1dStem}

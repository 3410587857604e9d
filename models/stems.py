"""Stems: map an encoder's features to the network's dimension, one stem per stream (modality and encoder).

n utterances' features are packed sequences (models/sequences.py): values (R, D) and the numbers of steps (n,). So
nothing is computed for padding, and no statistic depends on it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sequences import longest, pack, pad, step_mask

MAX_STEPS = 8  # maximum number of steps of an utterance after a conv1d stem (ours)


class BatchNorm(nn.BatchNorm1d):
    """y = gamma (x - E[x]) / sqrt(Var[x] + eps) + beta (Ioffe and Szegedy 2015) of values (R, D).

    A batch of a single row, which has no variance, is normalised by the running statistics, as in evaluation.
    """

    def forward(self, input: Tensor) -> Tensor:
        by_batch, rate, epsilon = self.training and len(input) > 1, self.momentum or 0.0, self.eps
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(input.float(), mean, variance, self.weight, self.bias, by_batch, rate, epsilon)


class StepConvolution(nn.Module):
    """y_s = W [x_s-1; x_s; x_s+1] + b: a convolution of width 3, with zeros before and after an utterance.

    As a linear map of packed steps it takes half the time of nn.Conv1d over padded ones.
    """

    def __init__(self, dim_in: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(3 * dim_in, dim)

    def forward(self, values: Tensor, steps: Tensor) -> Tensor:
        utterance, step = step_mask(steps, longest(steps)).nonzero().unbind(1)  # (R,), of each step
        earlier = values.roll(1, 0) * (step > 0).unsqueeze(1)
        later = values.roll(-1, 0) * (step < steps[utterance] - 1).unsqueeze(1)
        return self.linear(torch.cat([earlier, values, later], 1))


class LinearStem(nn.Module):
    """h_s = Dropout(W x_s + b)."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), nn.Dropout(dropout))

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(values), steps


class MLPStem(nn.Module):
    """h_s = Dropout(ReLU(W x_s + b))."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, dim), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(values), steps


class Conv1dStem(nn.Module):
    """h = W AdaptiveAverage(block(MaxPool2(block(x)))) + b with block(x) = ReLU(BatchNorm(Conv3(x))).

    The usual small convolutional network over a spectrogram. Ours: the adaptive average keeps up to 8 steps, not
    one, so that token-level fusion still has a sequence.
    """

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.first, self.second = StepConvolution(dim_in, dim), StepConvolution(dim, dim)
        self.first_norm, self.second_norm = BatchNorm(dim), BatchNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(dim, dim)

    def forward(self, values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.relu(self.first_norm(self.first(values, steps)))
        values, steps = max_pool_pairs(values, steps)
        values = torch.relu(self.second_norm(self.second(self.dropout(values), steps)))
        values, steps = adaptive_average(values, steps, MAX_STEPS)
        return self.out(self.dropout(values)), steps


def max_pool_pairs(values: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of steps 2s and 2s + 1 of each utterance, of non-negative values; an odd last step stays."""
    padded = pad(values, steps, longest(steps))
    pooled, halves = functional.max_pool1d(padded.transpose(1, 2), 2, ceil_mode=True), (steps + 1) // 2
    return pack(pooled.transpose(1, 2), halves), halves


def adaptive_average(values: Tensor, steps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Average each utterance's steps s = 0..L-1 into K = min(L, count) bins [floor(kL/K), ceil((k+1)L/K)).

    The bins are those of `torch.nn.functional.adaptive_avg_pool1d`, here for sequences of different lengths.
    """
    padded, bins, length = pad(values, steps, longest(steps)), steps.clamp(max=count), steps.view(-1, 1, 1)
    bin_ = torch.arange(count, device=steps.device).view(1, -1, 1)
    step = torch.arange(padded.shape[1], device=steps.device).view(1, 1, -1)
    divisor = bins.view(-1, 1, 1).clamp(min=1)
    first, end = bin_ * length // divisor, ((bin_ + 1) * length + divisor - 1) // divisor
    inside = (step >= first) & (step < end)  # (n, count, S)
    weights = inside.to(padded.dtype) / inside.sum(-1, keepdim=True).clamp(min=1)
    return pack(weights @ padded, bins), bins


STEMS = {"linear": LinearStem, "mlp": MLPStem, "conv1d": Conv1dStem}

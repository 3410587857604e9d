"""Optimisers, the learning rate's schedules and the moving average of weights, around those of torch.optim.

torch's learning rate schedulers are not used. They count the steps of one optimiser, of which all are known before;
here shares of corpora make epochs of different lengths, and unfreezing begins a new optimiser in mid-training. A
schedule is a function of the fraction of the training completed and of the dev scores, which needs no saved state.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from merc.training.core.loop_config import LoopConfig

PLATEAU_PATIENCE, PLATEAU_FACTOR = 2, 0.1
Tensors = tuple[Tensor, ...] | list[Tensor]


class TrainablePart(NamedTuple):
    """Parameters with a common learning rate, which are frozen before their first epoch (counted from 0)."""

    parameters: list[nn.Parameter]
    rate: float
    first_epoch: int = 0


# Loshchilov and Hutter 2019: weight decay apart from the gradient; Kingma and Ba 2015: inside it
OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def new_optimiser(
    network: nn.Module, parts: Sequence[TrainablePart], epoch: int, config: LoopConfig
) -> torch.optim.Optimizer:
    """An optimiser of the parts that are trained in this epoch; all other parameters are frozen.

    A parameter without a gradient (its modality is absent from a batch) keeps value and moments in that step.
    """
    trained = [part for part in parts if part.first_epoch <= epoch]
    network.requires_grad_(False)
    for part in trained:
        for parameter in part.parameters:
            parameter.requires_grad_(True)
    groups = [{"params": part.parameters, "lr": part.rate, "initial_lr": part.rate} for part in trained]
    options: dict[str, Any] = {"weight_decay": config.weight_decay, "fused": True}
    # fused: the square root of its kernel is the same on every processor (runtime/numerics.py)
    return OPTIMISERS[config.optimiser](groups, **options)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers, a <- d a + (1 - d) w, in a copy of the network.

    The decay d starts as updates / (updates + 1), which gives the plain mean, and is at most `decay`.
    """

    def average(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            get_ema_multi_avg_fn(min(decay, int(updates) / (int(updates) + 1)))(averaged, current, updates)
        else:  # counts of batches
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def constant_schedule(progress: float, scores: Sequence[float]) -> float:
    """The factor 1 throughout."""
    return 1.0


def cosine_schedule(progress: float, scores: Sequence[float]) -> float:
    """Half a cosine wave from 1 to 0 (Loshchilov and Hutter 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def plateau_schedule(progress: float, scores: Sequence[float]) -> float:
    """A tenth after every third epoch in a row without a better dev score: ReduceLROnPlateau with patience 2."""
    best, num_bad_epochs, factor = -math.inf, 0, 1.0
    for score in scores:
        num_bad_epochs = 0 if score > best else num_bad_epochs + 1
        best = max(best, score)
        if num_bad_epochs > PLATEAU_PATIENCE:
            factor, num_bad_epochs = factor * PLATEAU_FACTOR, 0
    return factor


# (fraction of the training completed, dev scores so far) -> factor of the learning rate
SCHEDULES: dict[str, Callable[[float, Sequence[float]], float]] = {
    "constant": constant_schedule,
    "cosine": cosine_schedule,
    "plateau": plateau_schedule,
}


def set_learning_rate(
    optimiser: torch.optim.Optimizer, config: LoopConfig, before: float, after: float, scores: Sequence[float]
) -> None:
    """Set the rates of a step, given the fractions of the training that are completed before and after it.

    The rates rise linearly over the first fraction `warmup`. No step has the rate 0.
    """
    ramp = min(1.0, after / config.warmup) if config.warmup else 1.0
    factor = ramp * SCHEDULES[config.schedule](before, scores)
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * factor

"""Optimisers AdamW and Adam, learning rate schedules, and the moving average of weights.

A step is PyTorch's fused kernel, whose square root is the same on every processor (runtime/numerics.py).
torch.optim calls that kernel too, but imports torch's compiler, which takes 3.5 s per process and is not needed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from merc.training.core.network import TrainedModule

PLATEAU_PATIENCE, PLATEAU_FACTOR = 2, 0.1
MEAN_DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8  # beta1, beta2, epsilon, as in the paper and torch
NetworkT = TypeVar("NetworkT", bound=TrainedModule)


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with a common learning rate, and the moments of their gradients."""

    parameters: list[Tensor]
    rate: float
    means: list[Tensor]
    squares: list[Tensor]

    @classmethod
    def of(cls, parameters: Iterable[Tensor], rate: float) -> "ParameterGroup":
        parameters = list(parameters)
        means, squares = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))
        return cls(parameters, rate, means, squares)


class AdamW:
    """p <- p - a (w p + m' / (sqrt(v') + e)): Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    m' and v' are bias-corrected moving averages of the gradient and its square. A parameter without a gradient is
    treated as having gradient 0: it and its moments decay (torch.optim skips it).
    """

    kernel: Callable[..., None] = staticmethod(
        torch._fused_adamw_  # pyright: ignore[reportPrivateImportUsage] missing in torch's stub
    )

    def __init__(self, groups: list[ParameterGroup], weight_decay: float) -> None:
        self.groups, self.weight_decay, self.steps = groups, weight_decay, 0

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """Update the parameters at `factor` times their learning rates, then clear their gradients."""
        self.steps += 1
        for group in self.groups:
            if group.parameters:
                self._update(group, group.rate * factor)
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def _update(self, group: ParameterGroup, rate: float) -> None:
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in group.parameters]
        steps = torch.tensor(float(self.steps), device=group.parameters[0].device)
        self.kernel(
            group.parameters,
            gradients,
            group.means,
            group.squares,
            [],
            [steps] * len(gradients),
            lr=rate,
            beta1=MEAN_DECAY,
            beta2=SQUARE_DECAY,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


class Adam(AdamW):
    """Adam with weight decay in the gradient, g <- g + w p, and thus in the moments (Kingma and Ba 2015)."""

    kernel = staticmethod(
        torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage] missing in torch's stub
    )


OPTIMISERS: dict[str, type[AdamW]] = {"adamw": AdamW, "adam": Adam}


class MovingAverage(Generic[NetworkT]):
    """Exponential moving average of the weights, a <- d a + (1 - d) w, in a copy of the network.

    The decay d starts as updates / (updates + 1), which gives the plain mean, and is at most `decay`.
    """

    def __init__(self, network: NetworkT, decay: float) -> None:
        self.network, self.decay, self.updates = deepcopy(network).eval(), decay, 0
        pairs: list[tuple[Tensor, Tensor]] = [*zip(self.network.parameters(), network.parameters(), strict=True)]
        self.averaged, self.current = [average for average, _ in pairs], [parameter for _, parameter in pairs]
        self.buffers = [*zip(self.network.buffers(), network.buffers(), strict=True)]

    @torch.no_grad()
    def update(self) -> None:
        """Include the network's current weights and buffers (batch norm statistics)."""
        decay = min(self.decay, self.updates / (self.updates + 1))
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage] missing in torch's stub
            self.averaged, self.current, 1 - decay
        )
        for average, buffer in self.buffers:
            average.lerp_(buffer, 1 - decay) if average.is_floating_point() else average.copy_(buffer)
        self.updates += 1

    @contextmanager
    def applied_to(self, network: TrainedModule) -> Iterator[None]:
        """Give the network the averaged weights within the context, and its own afterwards."""
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self.network.state_dict())
        try:
            yield
        finally:
            network.load_state_dict(weights)


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


def learning_rate_factor(schedule: str, warmup: float, progress: float, scores: Sequence[float] = ()) -> float:
    """The schedule's learning rate factor, with linear warm-up over the first fraction `warmup` of the training."""
    ramp = min(1.0, progress / warmup) if warmup else 1.0
    return ramp * SCHEDULES[schedule](progress, scores)

"""AdamW and Adam, learning rate schedules, and the moving average of weights, on parameters as they come.

The step itself is PyTorch's fused kernel, whose square root is the same on every processor (merc/numerics.py).
torch.optim calls that kernel too, but imports torch's compiler, which takes 3.5 s a process and is never used here.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PLATEAU_PATIENCE, PLATEAU_FACTOR = 2, 0.1
MEAN_DECAY, SQUARE_DECAY, SMALLEST = 0.9, 0.999, 1e-8  # as in the paper, and torch's defaults


@dataclass(frozen=True)
class Group:
    """Parameters with a learning rate in common, and the moments of their gradients."""

    parameters: list[Tensor]
    rate: float
    means: list[Tensor]
    squares: list[Tensor]

    @classmethod
    def of(cls, parameters: Iterable[Tensor], rate: float) -> "Group":
        own = list(parameters)
        return cls(own, rate, [torch.zeros_like(one) for one in own], [torch.zeros_like(one) for one in own])


class AdamW:
    """p <- p - a (w p + m' / (sqrt(v') + e)): Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    m' and v' are bias-corrected moving averages of the gradient and its square. A parameter without a gradient
    has gradient 0 (torch leaves it alone): it decays, and its moments fade.
    """

    kernel = staticmethod(torch._fused_adamw_)

    def __init__(self, groups: list[Group], weight_decay: float) -> None:
        self.groups, self.weight_decay, self.steps = groups, weight_decay, 0

    @torch.no_grad()
    def step(self, share: float = 1.0) -> None:
        """Move along the gradients at this share of the full rates, then forget them."""
        self.steps += 1
        for group in self.groups:
            if group.parameters:
                self._move(group, group.rate * share)
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def _move(self, group: Group, rate: float) -> None:
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in group.parameters]
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
            eps=SMALLEST,
            amsgrad=False,
            maximize=False,
        )


class Adam(AdamW):
    """Weight decay as part of the gradient, g <- g + w p, and so of its moments (Kingma and Ba 2015)."""

    kernel = staticmethod(torch._fused_adam_)


OPTIMISERS: dict[str, type[AdamW]] = {"adamw": AdamW, "adam": Adam}


class MovingAverage:
    """A copy of the network that trails it: weights <- d weights + (1 - d) network's; at first their plain mean."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay, self.updates = deepcopy(network).eval(), decay, 0
        pairs = [*zip(self.network.parameters(), network.parameters(), strict=True)]
        self.trailing, self.leading = [one for one, _ in pairs], [other for _, other in pairs]
        self.buffers = [*zip(self.network.buffers(), network.buffers(), strict=True)]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's present weights, and what it has measured of its batches."""
        decay = min(self.decay, self.updates / (self.updates + 1))
        torch._foreach_lerp_(self.trailing, self.leading, 1 - decay)
        for own, other in self.buffers:
            own.lerp_(other, 1 - decay) if own.is_floating_point() else own.copy_(other)
        self.updates += 1

    @contextmanager
    def instead(self, network: nn.Module) -> Iterator[None]:
        """Meanwhile the network has the averaged weights; afterwards its own again."""
        own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self.network.state_dict())
        try:
            yield
        finally:
            network.load_state_dict(own)


def constant(done: float, scores: Sequence[float]) -> float:
    """1 throughout."""
    return 1.0


def cosine(done: float, scores: Sequence[float]) -> float:
    """Half a cosine wave from 1 to 0 (Loshchilov and Hutter 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * done))


def plateau(done: float, scores: Sequence[float]) -> float:
    """A tenth after each third epoch in a row without a better dev score: torch's ReduceLROnPlateau, patience 2."""
    best, waited, share = -math.inf, 0, 1.0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited > PLATEAU_PATIENCE:
            share, waited = share * PLATEAU_FACTOR, 0
    return share


# the share of the full learning rate, from the share of the training that is done and the dev scores so far
SCHEDULES: dict[str, Callable[[float, Sequence[float]], float]] = {
    "constant": constant,
    "cosine": cosine,
    "plateau": plateau,
}


def rate_share(schedule: str, warmup: float, done: float, scores: Sequence[float] = ()) -> float:
    """The schedule's share, rising from 0 during the first `warmup` of the training."""
    rise = min(1.0, done / warmup) if warmup else 1.0
    return rise * SCHEDULES[schedule](done, scores)

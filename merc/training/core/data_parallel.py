"""Data parallelism: several processes, started by torchrun, train one network on the same batches.

Every process draws the same batch. `divided` encodes a part of its utterances in each process and gathers the
features of all, through which the gradient flows; from there on every process computes the same loss of the whole
batch. DistributedDataParallel averages the gradients, so that all processes take the same step.

Its usual way, a batch of its own for each process, is another training: the label losses are means over a batch's
labelled utterances, batch norm and dropout of the network are the whole batch's (torch's SyncBatchNorm refuses a
CPU). The network above the encoders is small: that every process computes it costs little, and the result is the
same as that of one process but for rounding.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


class _Loss(nn.Module):
    """The loss terms of a batch as a module, which DistributedDataParallel can wrap."""

    def __init__(self, network: nn.Module, objective: Callable[[Any, Any], dict[str, Tensor]]) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self.objective(self.network, batch)


def loss_terms(
    network: nn.Module, objective: Callable[[Any, Any], dict[str, Tensor]]
) -> Callable[[Any], dict[str, Tensor]]:
    """A batch -> its loss terms, whose gradients are means over the processes; all have the first one's weights.

    It holds for the parameters that require a gradient now: to be called again when some are unfrozen.
    """
    if not distributed.is_initialized():
        return partial(objective, network)
    return DistributedDataParallel(_Loss(network, objective), find_unused_parameters=True)


def accumulating(terms: Callable[[Any], dict[str, Tensor]]) -> AbstractContextManager[Any]:
    """Loss terms computed inside leave their gradients to a later exchange: that of the last batch of a step."""
    return terms.no_sync() if isinstance(terms, DistributedDataParallel) else nullcontext()


def part(rows: Sequence[T]) -> Sequence[T]:
    """The rows of this process: one after the other, as many as the others have, or one more."""
    if not distributed.is_initialized():
        return rows
    process, count = distributed.get_rank(), distributed.get_world_size()
    return rows[len(rows) * process // count : len(rows) * (process + 1) // count]


def divided(function: Callable[[Sequence[T]], tuple[Tensor, ...]], rows: Sequence[T]) -> tuple[Tensor, ...]:
    """What `function` returns for all rows, (n, ...) each; every process computes its part and has its gradient.

    A process without a row computes the first one and drops it: so its gradients are 0, and none is missing.
    """
    if not distributed.is_initialized():
        return function(rows)
    own = part(rows)
    return tuple(gather(values[: len(own)]) for values in function(own if len(own) else rows[:1]))


def gather(own: Tensor) -> Tensor:
    """The rows (n, ...) of all processes, one process after the other, padded with 0 in every other dimension.

    Each process has the loss of all rows, and DistributedDataParallel takes the mean of their gradients: so the
    gradient of a process's own rows, which no other has, is multiplied by the number of processes.
    """
    if not distributed.is_initialized():
        return own
    count = distributed.get_world_size()
    shapes = [torch.zeros(own.dim(), dtype=torch.long, device=own.device) for _ in range(count)]
    distributed.all_gather(shapes, torch.tensor(own.shape, device=own.device))
    sizes = torch.stack(shapes).cpu()
    missing = (sizes.amax(0) - torch.tensor(own.shape)).tolist()
    padded = functional.pad(own, [number for width in reversed(missing) for number in (0, width)]).contiguous()
    parts = [torch.empty_like(padded) for _ in range(count)]
    distributed.all_gather(parts, padded.detach())
    if padded.requires_grad:
        padded.register_hook(lambda gradient: gradient * count)
    parts[distributed.get_rank()] = padded
    return torch.cat([values[:number] for values, number in zip(parts, sizes[:, 0].tolist(), strict=True)])


def agreed(value: Any) -> Any:
    """The first process's value, in every process: what is decided by it is decided alike."""
    if not distributed.is_initialized():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]

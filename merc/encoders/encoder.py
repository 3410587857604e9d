"""What an encoder is, and the one way to run it over many utterances."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

HALVES = ("cuda",)  # devices with fast half precision
T, R = TypeVar("T"), TypeVar("R")
ACCELERATED = 32  # times the budget where an accelerator wants larger batches


class Encoder(nn.Module):
    """Turns what a medium holds (merc/encoders/raw.py) into a sequence of feature vectors."""

    name: str
    dim: int
    unit_names: tuple[str, ...]  # what a step is, column by column of `units`
    step_seconds: float | None  # None where steps are no equal spans of time
    budget: int  # `size` units, padding included, that one batch may hold on a CPU core
    differentiable: str | None  # the tensor of `prepare` that gradients of the features reach; None: weights only
    halves: bool = False  # whether half precision inside is safe: networks, not signal processing
    stored: type = np.float16  # of the features in a pack; float32 where they may pass 65,504
    untaught: bool = (
        False  # nothing pretrained in it: it learns in train mode, and says nothing before it has learnt
    )
    parts: int = 1  # equal slices of a step: networks side by side, each of which learns to judge on its own
    silence: Any  # the raw input that says nothing: an empty text, silence, a black picture

    def prepare(self, raw: Sequence[Any]) -> dict[str, Tensor]:
        """Tensors of a padded batch."""
        raise NotImplementedError

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """values (N, S, dim) float32, of which the first steps (N,) of each row count."""
        raise NotImplementedError

    def units(self, raw: Sequence[Any]) -> list[np.ndarray]:
        """One (steps, len(unit_names)) float32 array per raw input."""
        raise NotImplementedError

    def size(self, raw: Any) -> int:
        """How long a raw input is, in the unit of `budget`."""
        raise NotImplementedError

    def above(self) -> list[nn.Parameter]:
        """What stands above the pretrained layers and knows nothing yet: learnt as early as heads are."""
        return []

    @cached_property
    def blank(self) -> np.ndarray:
        """Features of `silence`: the baseline of explanations, and what a corrupted input becomes."""
        return features(self, [self.silence])[0]


def features(encoder: Encoder, raw: Sequence[Any]) -> list[np.ndarray]:
    """One (steps, dim) float32 array per raw input, in the order given; batched by length, so padding is little."""
    where = device_of(encoder)
    found: dict[int, np.ndarray] = {}
    was_training = encoder.training
    encoder.eval()
    with torch.inference_mode():
        budget = encoder.budget * (1 if where.type == "cpu" else ACCELERATED)
        cut = list(batches([encoder.size(one) for one in raw], budget))
        for batch, tensors in zip(cut, _prepared(encoder, raw, cut, where), strict=True):
            values, steps = _answer(encoder, tensors, where)
            found |= zip(batch, _cut(values, steps), strict=True)
    encoder.train(was_training)
    return [found[index] for index in range(len(raw))]


def _prepared(
    encoder: Encoder, raw: Sequence[Any], cut: list[list[int]], where: torch.device
) -> Iterator[dict[str, Tensor]]:
    """The tensors of each batch; the next ones are prepared while an accelerator works."""

    def prepare(batch: list[int]) -> dict[str, Tensor]:
        tensors = encoder.prepare([raw[index] for index in batch])
        return {name: tensor.to(where) for name, tensor in tensors.items()}

    return map(prepare, cut) if where.type == "cpu" else ahead(prepare, cut)


def _answer(encoder: Encoder, tensors: dict[str, Tensor], where: torch.device) -> tuple[Tensor, Tensor]:
    """At half precision where it is faster and safe; what passes its range is computed again at full precision.

    A CPU computes at full precision: its half precision saves nothing here.
    """
    if encoder.halves and where.type in HALVES:
        with torch.autocast(where.type, torch.float16):
            values, steps = encoder(tensors)
        if values.isfinite().all():
            return values, steps
    return encoder(tensors)


def ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`function` of every item, in order; one thread works one item ahead of whoever asks."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def batches(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices from the shortest to the longest, cut where the padded batch would exceed the budget."""
    batch: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: (sizes[index], index)):
        if batch and (len(batch) + 1) * sizes[index] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _cut(values: Tensor, steps: Tensor) -> list[np.ndarray]:
    arrays = values.float().cpu().numpy()
    return [array[:count].copy() for array, count in zip(arrays, steps.tolist(), strict=True)]


def device_of(encoder: nn.Module) -> torch.device:
    """Where its weights or, if it has none, its constants are."""
    for tensor in [*encoder.parameters(), *encoder.buffers()]:
        return tensor.device
    return torch.device("cpu")

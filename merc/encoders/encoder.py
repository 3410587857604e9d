"""What an encoder is, and the one way to run it over many utterances."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ACCELERATED = 32  # times the budget where an accelerator wants larger batches


class Encoder(nn.Module):
    """Turns what a medium holds (merc/encoders/raw.py) into a sequence of feature vectors."""

    name: str
    dim: int
    unit_names: tuple[str, ...]  # what a step is, column by column of `units`
    step_seconds: float | None  # None where steps are no equal spans of time
    budget: int  # `size` units, padding included, that one batch may hold on a CPU core
    differentiable: str | None  # the tensor of `prepare` that gradients of the features reach; None: weights only
    stored: type = np.float16  # of the features in a pack; float32 where they may pass 65,504
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
    where = _device(encoder)
    found: dict[int, np.ndarray] = {}
    was_training = encoder.training
    encoder.eval()
    with torch.inference_mode():
        budget = encoder.budget * (1 if where.type == "cpu" else ACCELERATED)
        for batch in batches([encoder.size(one) for one in raw], budget):
            tensors = encoder.prepare([raw[index] for index in batch])
            values, steps = encoder({name: tensor.to(where) for name, tensor in tensors.items()})
            found |= zip(batch, _cut(values, steps), strict=True)
    encoder.train(was_training)
    return [found[index] for index in range(len(raw))]


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


def _device(encoder: nn.Module) -> torch.device:
    for tensor in [*encoder.parameters(), *encoder.buffers()]:
        return tensor.device
    return torch.device("cpu")

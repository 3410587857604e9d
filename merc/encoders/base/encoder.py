"""The encoder interface, and batched feature extraction over many utterances."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from merc.runtime import numerics

HALF_PRECISION = {"cuda": torch.float16}  # the type of two bytes that a device multiplies faster than float32
BFLOAT16_FLAG = "amx_bf16"  # of a CPU that multiplies bfloat16 faster than float32; avx512_bf16 alone is slower
T = TypeVar("T")
R = TypeVar("R")
ACCELERATOR_BUDGET_FACTOR = 32  # factor on the budget on an accelerator, which needs larger batches


class Encoder(nn.Module):
    """Maps the raw inputs of a modality (merc/data/records/encoder_inputs.py) to sequences of feature vectors."""

    name: str
    dim: int
    unit_names: tuple[str, ...]  # column names of `units`
    step_seconds: float | None  # duration of a step; None if steps are not equal spans of time
    budget: int  # maximum batch size on a CPU core, padding included, in units of `size`
    differentiable: str | None  # tensor of `prepare` that gradients of the features reach; None: only the weights
    supports_half_precision: bool = False  # True for networks, False for signal processing
    stored: type = np.float16  # dtype of the features in a pack; float32 if they may exceed 65,504
    untaught: bool = False  # has no pretrained weights: trained in train mode, unusable before training
    # features depend on the last layer's states (N, L, width) alone, L being `size`; inputs are hashable
    layered: bool = False
    parts: int = 1  # equal slices of a feature vector: parallel networks, each trained with its own heads
    silent_input: Any  # raw input without content: an empty text, silence, a black picture

    def prepare(self, raw: Sequence[Any]) -> dict[str, Tensor]:
        """Collate raw inputs into the tensors of a padded batch."""
        raise NotImplementedError

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return features (N, S, dim) float32 and the number of valid steps (N,) of each row."""
        raise NotImplementedError

    def units(self, raw: Sequence[Any]) -> list[np.ndarray]:
        """Position of each step in the raw input: one (steps, len(unit_names)) float32 array per input."""
        raise NotImplementedError

    def size(self, raw: Any) -> int:
        """Length of a raw input, in the unit of `budget`."""
        raise NotImplementedError

    def new_parameters(self) -> list[nn.Parameter]:
        """Randomly initialised parameters above the pretrained layers; trained from the first epoch, like heads."""
        return []

    @cached_property
    def blank(self) -> np.ndarray:
        """Features of `silent_input`: the baseline of explanations, and the replacement of a corrupted input."""
        return extract_features(self, [self.silent_input])[0]


def extract_features(encoder: Encoder, raw: Sequence[Any]) -> list[np.ndarray]:
    """One (steps, dim) float32 array per raw input, in input order; batched by length to keep padding small."""
    device = device_of(encoder)
    results: dict[int, np.ndarray] = {}
    was_training = encoder.training
    encoder.eval()
    with torch.inference_mode():
        budget = encoder.budget * (1 if device.type == "cpu" else ACCELERATOR_BUDGET_FACTOR)
        index_batches = list(length_sorted_batches([encoder.size(item) for item in raw], budget))
        prepared = _prepare_batches(encoder, raw, index_batches, device)
        for indices, tensors in zip(index_batches, prepared, strict=True):
            values, steps = _forward(encoder, tensors, device)
            results |= zip(indices, _unpad(values, steps), strict=True)
    encoder.train(was_training)
    return [results[index] for index in range(len(raw))]


def _prepare_batches(
    encoder: Encoder, raw: Sequence[Any], index_batches: list[list[int]], device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Tensors of each batch on the device; on an accelerator, the next batch is prepared in the background."""

    def prepare(indices: list[int]) -> dict[str, Tensor]:
        tensors = encoder.prepare([raw[index] for index in indices])
        return {name: tensor.to(device) for name, tensor in tensors.items()}

    return map(prepare, index_batches) if device.type == "cpu" else prefetch_map(prepare, index_batches)


def _forward(encoder: Encoder, tensors: dict[str, Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Run at half precision where it is fast and supported; repeat at full precision if values overflow."""
    half = half_precision(device.type) if encoder.supports_half_precision else None
    if half is not None:
        with torch.autocast(device.type, half):
            values, steps = encoder(tensors)
        if values.isfinite().all():
            return values, steps
    return encoder(tensors)


def half_precision(device: str) -> torch.dtype | None:
    """The type of two bytes in which a device computes faster; None: float32.

    On a CPU bfloat16, under `numerics: fast`, if it has matrix instructions (AMX) for it: portable numbers are
    those of any CPU, one with avx512_bf16 alone takes 1.6 times as long, and emulated it takes three times
    (docs/scale.md).
    """
    if device == "cpu" and numerics.configured_mode() == "fast" and BFLOAT16_FLAG in numerics.cpu_flags():
        return torch.bfloat16
    return HALF_PRECISION.get(device)


def prefetch_map(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Map `function` over the items in order; a background thread prefetches one item ahead."""
    with ThreadPoolExecutor(1) as thread:
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(thread.submit(function, item))
            if len(pending) > 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def length_sorted_batches(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Batches of indices, sorted by size; a batch ends where its padded size would exceed the budget."""
    batch: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: (sizes[index], index)):
        if batch and (len(batch) + 1) * sizes[index] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _unpad(values: Tensor, steps: Tensor) -> list[np.ndarray]:
    """One (steps, dim) array per row of a padded batch."""
    arrays = values.float().cpu().numpy()
    return [array[:count].copy() for array, count in zip(arrays, steps.tolist(), strict=True)]


def device_of(encoder: nn.Module) -> torch.device:
    """Device of the parameters or, without any, of the buffers."""
    for tensor in [*encoder.parameters(), *encoder.buffers()]:
        return tensor.device
    return torch.device("cpu")

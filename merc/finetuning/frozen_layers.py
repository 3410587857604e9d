"""Lower layers of an encoder that stay frozen: their states are computed once per input, not in every epoch."""

from collections.abc import Sequence
from functools import partial
from types import MethodType
from typing import Any, Self

import torch
from torch import Tensor, nn

from merc.encoders.base.encoder import Encoder, device_of, length_sorted_batches
from merc.finetuning.trainable_layers import layers_of
from merc.training.core import data_parallel

MAX_BYTES = 4_000_000_000  # of states; beyond, the layers are computed in every epoch


class _Enough(Exception):
    """The states are known: the layers above need not be computed."""


class FrozenLayers:
    """The states (L, dim) of the last frozen layer for every input of a training; L is the encoder's `size`.

    After `load(inputs)` the frozen layers compute nothing: each answers with the padded states of these inputs.
    The states do not depend on the order of the training's batches, so that a resumed one has the same.
    """

    def __init__(self, encoder: Encoder, layers: Sequence[nn.Module], inputs: Sequence[Any]) -> None:
        """`layers`: the frozen ones, from the bottom up."""
        self.last, self.is_tuple = layers[-1], False
        self.states: dict[Any, Tensor] = {}  # input -> (L, dim), on the CPU
        self.batch: Tensor | None = None  # (N, L, dim) padded states of the inputs at hand; None: to be computed
        self.device = device_of(encoder)
        for layer in layers:
            layer.forward = MethodType(self._forward, layer)
        unique = list(dict.fromkeys(inputs))
        for rows in length_sorted_batches([encoder.size(item) for item in unique], encoder.budget):
            batch = [unique[row] for row in rows]
            (states,) = data_parallel.divided(partial(self._compute, encoder), batch)
            self.states |= {
                item: own[: encoder.size(item)].clone() for item, own in zip(batch, states, strict=True)
            }

    def load(self, inputs: Sequence[Any]) -> None:
        """Make the frozen layers answer for a batch of these inputs."""
        states = [self.states[item] for item in inputs]
        self.batch = nn.utils.rnn.pad_sequence(states, batch_first=True).to(self.device)

    def __deepcopy__(self, memo: dict) -> Self:
        """Itself: the moving average of the weights has the same frozen layers."""
        return self

    @torch.no_grad()
    def _compute(self, encoder: Encoder, inputs: Sequence[Any]) -> tuple[Tensor]:
        """Padded states (N, L, dim) on the CPU."""
        self.batch = None
        try:
            encoder({name: tensor.to(self.device) for name, tensor in encoder.prepare(inputs).items()})
        except _Enough:
            assert self.batch is not None
            return (self.batch.float().cpu(),)
        raise AssertionError("the last frozen layer was not reached")

    def _forward(self, layer: nn.Module, *inputs: Any, **options: Any) -> Any:
        if self.batch is not None:
            return (self.batch,) if self.is_tuple else self.batch
        outputs = type(layer).forward(layer, *inputs, **options)
        if layer is not self.last:
            return outputs
        self.is_tuple = isinstance(outputs, tuple)
        self.batch = outputs[0] if self.is_tuple else outputs
        raise _Enough


def freeze_lower_layers(encoder: Encoder, num_trained: int, inputs: Sequence[Any]) -> FrozenLayers | None:
    """Compute the states below the top `num_trained` layers; None where they cannot be kept."""
    layers = layers_of(encoder)[:-num_trained]
    num_bytes = 4 * encoder.dim * sum(encoder.size(item) for item in inputs)
    if not layers or not encoder.layered or num_bytes > MAX_BYTES:
        return None
    return FrozenLayers(encoder.eval(), layers, inputs)

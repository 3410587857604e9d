"""How encoders are fine-tuned: first what stands above them, then they too; the best epoch by dev is kept."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from merc import markers, results
from merc.encoders.encoder import Encoder
from merc.optimiser import AdamW, Group, rate_share
from merc.problem import Problem

WEIGHT_DECAY = 0.01
WARMUP = 0.1  # share of the steps in which the rates rise
LARGEST_GRADIENT = 1.0  # norm
LAYER_DECAY = 0.95  # of the rate, per layer down from the top (Sun et al. 2019, How to Fine-Tune BERT)
Draw = Callable[[], Sequence]  # the batches of an epoch
Step = Callable[[Any], Tensor]  # a batch -> its loss


class Part(NamedTuple):
    """What is learnt at one rate."""

    parameters: list[nn.Parameter]
    rate: float


@dataclass(frozen=True)
class Plan:
    """When what is learnt. Encoders stay in eval mode: no batch statistics, no masking of what they hear."""

    epochs: int
    freeze_epochs: int
    above: list[Part]  # learnt from the beginning
    encoder: list[Part]  # learnt after freeze_epochs

    def parts(self, epoch: int) -> list[Part]:
        """What is learnt in this epoch, counted from 0."""
        return self.above if epoch < self.freeze_epochs else [*self.above, *self.encoder]


def fit(
    network: nn.Module, plan: Plan, draw: Callable[[], Sequence], step: Step, score: Callable[[], float]
) -> int:
    """Minimise `step` over the batches that `draw` gives each epoch; returns the best epoch, counted from 1.

    The network ends with the weights of the epoch whose `score`, of dev, is highest. A weight's moments begin
    anew when the encoder is unfrozen: its own would lag behind the others'.
    """
    best, highest, weights = 0, -math.inf, {}
    optimiser = AdamW([], WEIGHT_DECAY)
    for epoch in range(plan.epochs):
        if epoch in (0, plan.freeze_epochs):
            optimiser = _optimiser(network, plan.parts(epoch))
        for number, batch in enumerate(batches := draw()):
            step(batch).backward()
            nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimiser.step(rate_share("cosine", WARMUP, (epoch + number / len(batches)) / plan.epochs))
        reached = score()
        if reached > highest:
            best, highest = epoch + 1, reached
            weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(weights)
    return best


def _optimiser(network: nn.Module, parts: list[Part]) -> AdamW:
    network.requires_grad_(False)
    for parameter in chain.from_iterable(part.parameters for part in parts):
        parameter.requires_grad_(True)
    return AdamW([Group.of(part.parameters, part.rate) for part in parts], WEIGHT_DECAY)


def whole(encoder: Encoder, rate: float) -> list[Part]:
    """All of an encoder at one rate."""
    return [Part(list(encoder.parameters()), rate)]


def top(encoder: Encoder, count: int, rate: float) -> list[Part]:
    """The top layers of an encoder, each at a lower rate than the one above."""
    layers = layers_of(encoder)[::-1][:count]
    return [Part(list(layer.parameters()), rate * LAYER_DECAY**depth) for depth, layer in enumerate(layers)]


def layers_of(encoder: nn.Module) -> list[nn.Module]:
    """From the bottom up: the entries of its last list of layers; of a network without, its parts with weights."""
    lists = _outermost_lists(encoder)
    if lists:
        return list(lists[-1])
    while len(parts := [child for child in encoder.children() if any(True for _ in child.parameters())]) == 1:
        encoder = parts[0]
    return parts or [encoder]


def _outermost_lists(network: nn.Module) -> list[nn.ModuleList]:
    found = []
    for child in network.children():
        found += [child] if type(child) is nn.ModuleList else _outermost_lists(child)  # not a parametrisation's
    return found


def check_trainable(encoder: Encoder | None, modality: str, name: str, remedy: str) -> None:
    """Refuse to fine-tune what has no weights; `remedy` is how to do without."""
    if encoder is None or not any(True for _ in encoder.parameters()):
        raise Problem(
            f"params.yaml: encode.{modality}.encoder = {name!r}: it has no weights to fine-tune; "
            f"choose another encoder, or {remedy}"
        )


def save(folder: Path, encoder: Encoder) -> None:
    """Weights that `encode` loads over the encoder's own, and whose they are."""
    markers.empty(folder)
    results.write_json(folder / "config.json", {"encoder": encoder.name})
    # a copy each: safetensors refuses tensors that share memory
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in encoder.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def on(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the device."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}

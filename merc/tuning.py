"""How encoders are fine-tuned: first what stands above them, then they too; the best epoch by dev is kept."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from merc import markers, results
from merc.divergence import check_losses, check_weights
from merc.encoders import lowrank
from merc.encoders.encoder import Encoder
from merc.optimiser import AdamW, Group, MovingAverage, rate_share
from merc.problem import Problem
from merc.resuming import Saved
from merc.unfreezing import Unfreezing

WEIGHT_DECAY = 0.01
WARMUP = 0.1  # share of the steps in which the rates rise
LARGEST_GRADIENT = 1.0  # norm
Draw = Callable[[], Sequence]  # the batches of an epoch
Step = Callable[[Any], Tensor]  # a batch -> its loss


class Part(NamedTuple):
    """What is learnt at one rate."""

    parameters: list[nn.Parameter]
    rate: float


@dataclass(frozen=True)
class Plan:
    """When what is learnt. What is pretrained stays in eval mode: no batch statistics, no masking of its input."""

    epochs: int
    freeze_epochs: int
    above: list[Part]  # learnt from the beginning
    encoder: list[Part]  # learnt after freeze_epochs
    accumulate: int = 1  # batches whose gradients make a step
    average: float = 0.0  # decay, a step, of the average of the weights that is scored and kept; 0 = the latest
    train_mode: bool = False  # while it learns: for what has learnt nothing before

    def parts(self, epoch: int) -> list[Part]:
        """What is learnt in this epoch, counted from 0."""
        return self.above if epoch < self.freeze_epochs else [*self.above, *self.encoder]


@dataclass
class _Course:
    """How far a training is."""

    optimiser: AdamW
    average: MovingAverage | None
    epochs: int = 0  # that are done
    best: int = 0  # counted from 1
    highest: float = -math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the best epoch

    def kept(self) -> dict[str, dict[str, Tensor]]:
        """What a training that goes on needs besides the network and its moments."""
        average = {} if self.average is None else {"average": self.average.network.state_dict()}
        return {"best": self.weights, **average}

    def facts(self) -> dict[str, Any]:
        """The numbers of it."""
        updates = 0 if self.average is None else self.average.updates
        return {"epochs": self.epochs, "best": self.best, "highest": self.highest, "updates": updates}


def fit(
    network: nn.Module,
    plan: Plan,
    draw: Callable[[], Sequence],
    step: Step,
    score: Callable[[], float],
    saved: Saved | None = None,
) -> int:
    """Minimise `step` over the batches that `draw` gives each epoch; returns the best epoch, counted from 1.

    The network ends with the weights of the epoch whose `score`, of dev, is highest. A weight's moments begin
    anew when the encoder is unfrozen: its own would lag behind the others'. What `saved` holds is gone on with.
    """
    course = _begun(network, plan, saved)
    for epoch in range(course.epochs, plan.epochs):
        if epoch in (0, plan.freeze_epochs):
            course.optimiser = _optimiser(network, plan.parts(epoch))
        _learn(network, plan, epoch, draw(), step, course)
        course.epochs = epoch + 1
        with nullcontext() if course.average is None else course.average.instead(network):
            reached = score()
            if reached > course.highest:
                course.best, course.highest = epoch + 1, reached
                course.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        if saved is not None and epoch + 1 < plan.epochs:
            saved.write(network, course.optimiser, course.kept(), course.facts())
    network.load_state_dict(course.weights)
    check_weights(network)
    return course.best


def _begun(network: nn.Module, plan: Plan, saved: Saved | None) -> _Course:
    """A new course, or where a killed one stopped."""
    facts = saved.facts() if saved is not None else None
    average = MovingAverage(network, plan.average) if plan.average else None
    if facts is None:
        return _Course(AdamW([], WEIGHT_DECAY), average)
    optimiser = _optimiser(network, plan.parts(facts["epochs"] - 1))
    kept = saved.restore(network, optimiser)
    if average is not None:
        average.network.load_state_dict(kept["average"])
        average.updates = facts["updates"]
    print(f"{facts['epochs']} of {plan.epochs} epochs were finished by an earlier run")
    return _Course(optimiser, average, facts["epochs"], facts["best"], facts["highest"], kept["best"])


def _learn(network: nn.Module, plan: Plan, epoch: int, batches: Sequence, step: Step, course: _Course) -> None:
    """One epoch."""
    network.train(plan.train_mode)
    losses = []
    groups = [batches[first : first + plan.accumulate] for first in range(0, len(batches), plan.accumulate)]
    for number, group in enumerate(groups):
        for batch in group:
            loss = _at_half_precision(network, partial(step, batch))
            (loss / len(group)).backward()
            losses.append(loss.detach())
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        course.optimiser.step(rate_share("cosine", WARMUP, (epoch + number / len(groups)) / plan.epochs))
        if course.average is not None:
            course.average.update()
    network.eval()
    check_losses({"training": torch.stack(losses).float().mean().item()}, epoch + 1)


def _at_half_precision(network: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """bfloat16 where an accelerator has it: it needs no scaling of gradients, the weights stay float32."""
    where = next(network.parameters()).device.type
    with torch.autocast(where, torch.bfloat16, enabled=where == "cuda" and torch.cuda.is_bf16_supported()):
        return loss()


def _optimiser(network: nn.Module, parts: list[Part]) -> AdamW:
    network.requires_grad_(False)
    for parameter in chain.from_iterable(part.parameters for part in parts):
        parameter.requires_grad_(True)
    return AdamW([Group.of(part.parameters, part.rate) for part in parts], WEIGHT_DECAY)


def whole(encoder: Encoder, how: Unfreezing) -> list[Part]:
    """All of an encoder; what is no layer (embeddings) at the rate of the lowest."""
    layers = layers_of(encoder)
    parts = top(encoder, len(layers), how)
    if how.lora:
        return parts
    taken = {id(parameter) for parameter in chain(encoder.above(), *(part.parameters for part in parts))}
    rest = [parameter for parameter in encoder.parameters() if id(parameter) not in taken]
    return [*parts, Part(rest, how.lr * how.layer_decay ** (len(layers) - 1))]


def top(encoder: Encoder, count: int, how: Unfreezing) -> list[Part]:
    """The top layers of an encoder, each at a lower rate than the one above."""
    layers = layers_of(encoder)[::-1][:count]
    if how.lora:
        lowrank.add(encoder, layers, how.lora)
    if how.checkpointing:
        for layer in layers:
            _recompute(layer)
    own = lowrank.updates if how.lora else nn.Module.parameters
    rates = [how.lr * how.layer_decay**depth for depth in range(len(layers))]
    return [Part(list(own(layer)), rate) for layer, rate in zip(layers, rates, strict=True)]


def _recompute(layer: nn.Module) -> None:
    """Keep only what goes into the layer where a gradient is wanted."""
    from torch.utils.checkpoint import checkpoint

    inside = layer.forward

    def forward(*given, **named):
        if not torch.is_grad_enabled() or not any(one.requires_grad for one in layer.parameters()):
            return inside(*given, **named)
        return checkpoint(inside, *given, use_reentrant=False, preserve_rng_state=False, **named)

    layer.forward = forward


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
    """Weights that `encode` loads over the encoder's own, low-rank updates among them, and whose they are."""
    lowrank.merge(encoder)
    markers.empty(folder)
    results.write_json(folder / "config.json", {"encoder": encoder.name})
    # a copy each: safetensors refuses tensors that share memory
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in encoder.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def on(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the device."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}

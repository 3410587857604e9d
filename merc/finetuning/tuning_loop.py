"""The fine-tuning loop: first only the new layers above an encoder are trained, then the encoder too.

Keeps the best epoch by dev score. Also chooses the encoder's layers and saves it afterwards.
"""

import math
from abc import ABC, abstractmethod
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

from merc.encoders.base.encoder import Encoder
from merc.finetuning import lora
from merc.finetuning.finetuning_config import UnfreezingConfig
from merc.finetuning.resumption import SavedTraining
from merc.runtime import results
from merc.runtime.divergence import check_losses, check_weights
from merc.runtime.errors import UserError
from merc.training.core.optim import AdamW, MovingAverage, ParameterGroup, learning_rate_factor

WEIGHT_DECAY = 0.01
WARMUP = 0.1  # fraction of the training over which the learning rates rise
MAX_GRADIENT_NORM = 1.0  # norm to which gradients are clipped
BatchLoss = Callable[[Any], Tensor]  # a batch -> its loss


class DevScorer(ABC):
    """Scores a network on dev; called, it returns the macro F1 of the emotions, which selects the best epoch."""

    def __call__(self) -> float:
        return self.scores()["emotion"]["macro_f1"]

    @abstractmethod
    def scores(self) -> dict[str, dict[str, float]]:
        """The headline scores of every task."""


class TrainablePart(NamedTuple):
    """Parameters with a common learning rate."""

    parameters: list[nn.Parameter]
    rate: float


@dataclass(frozen=True)
class TuningPlan:
    """Which parameters are trained when.

    Pretrained encoders stay in eval mode: no batch statistics, no masking of the input (as SpecAugment).
    """

    epochs: int
    freeze_epochs: int
    new_layers: list[TrainablePart]  # trained from the beginning
    encoder: list[TrainablePart]  # trained after freeze_epochs
    accumulate: int = 1  # batches whose gradients are accumulated for a step
    average: float = 0.0  # decay per step of the moving average of weights that is scored and kept; 0 = none
    train_mode: bool = False  # train in train mode: for encoders without pretrained weights

    def parts(self, epoch: int) -> list[TrainablePart]:
        """The parameters trained in this epoch, counted from 0."""
        return self.new_layers if epoch < self.freeze_epochs else [*self.new_layers, *self.encoder]


@dataclass
class _Progress:
    """The state of a training that is not in its network."""

    optimiser: AdamW
    average: MovingAverage[nn.Module] | None
    num_epochs: int = 0  # completed
    best_epoch: int = 0  # counted from 1
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The weights that a resumed training needs besides those of the network and the optimiser."""
        average = {} if self.average is None else {"average": self.average.network.state_dict()}
        return {"best": self.best_weights, **average}

    def numbers(self) -> dict[str, Any]:
        """The numbers that a resumed training needs."""
        return {
            "num_epochs": self.num_epochs,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "updates": 0 if self.average is None else self.average.updates,
        }


def fit(
    network: nn.Module,
    plan: TuningPlan,
    draw: Callable[[], Sequence],
    step: BatchLoss,
    score: Callable[[], float],
    saved: SavedTraining | None = None,
) -> int:
    """Minimise `step` over the batches that `draw` returns for each epoch; returns the best epoch, counted from 1.

    The network ends with the weights of the epoch with the highest dev `score`. All optimiser moments are reset
    when the encoder is unfrozen, because its own would lag behind the others. The state in `saved` is resumed.
    """
    progress = _start(network, plan, saved)
    for epoch in range(progress.num_epochs, plan.epochs):
        if epoch in (0, plan.freeze_epochs):
            progress.optimiser = _optimiser(network, plan.parts(epoch))
        _train_epoch(network, plan, epoch, draw(), step, progress)
        progress.num_epochs = epoch + 1
        with nullcontext() if progress.average is None else progress.average.applied_to(network):
            dev_score = score()
            if dev_score > progress.best_score:
                progress.best_epoch, progress.best_score = epoch + 1, dev_score
                weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
                progress.best_weights = weights
        if saved is not None and epoch + 1 < plan.epochs:
            saved.write(network, progress.optimiser, progress.tensors(), progress.numbers())
    network.load_state_dict(progress.best_weights)
    check_weights(network)
    return progress.best_epoch


def _start(network: nn.Module, plan: TuningPlan, saved: SavedTraining | None) -> _Progress:
    """The progress of a new training, or that of the killed training in `saved`."""
    numbers = saved.progress() if saved is not None else None
    average = MovingAverage(network, plan.average) if plan.average else None
    if saved is None or numbers is None:
        return _Progress(AdamW([], WEIGHT_DECAY), average)
    num_epochs = numbers["num_epochs"]
    optimiser = _optimiser(network, plan.parts(num_epochs - 1))
    tensors = saved.restore(network, optimiser)
    if average is not None:
        average.network.load_state_dict(tensors["average"])
        average.updates = numbers["updates"]
    print(f"{num_epochs} of {plan.epochs} epochs were finished by an earlier run")
    return _Progress(optimiser, average, num_epochs, numbers["best_epoch"], numbers["best_score"], tensors["best"])


def _train_epoch(
    network: nn.Module, plan: TuningPlan, epoch: int, batches: Sequence, step: BatchLoss, progress: _Progress
) -> None:
    network.train(plan.train_mode)
    losses = []
    groups = [batches[first : first + plan.accumulate] for first in range(0, len(batches), plan.accumulate)]
    for number, group in enumerate(groups):
        for batch in group:
            loss = _with_autocast(network, partial(step, batch))
            (loss / len(group)).backward()
            losses.append(loss.detach())
        nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        progress.optimiser.step(
            learning_rate_factor("cosine", WARMUP, (epoch + number / len(groups)) / plan.epochs)
        )
        if progress.average is not None:
            progress.average.update()
    network.eval()
    check_losses({"training": torch.stack(losses).float().mean().item()}, epoch + 1)


def _with_autocast(network: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """The loss in bfloat16 on a GPU that supports it: needs no gradient scaling; the weights stay float32."""
    device_type = next(network.parameters()).device.type
    is_enabled = device_type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast(device_type, torch.bfloat16, enabled=is_enabled):
        return loss()


def _optimiser(network: nn.Module, parts: list[TrainablePart]) -> AdamW:
    """A new optimiser of these parameters; freezes all others."""
    network.requires_grad_(False)
    for parameter in chain.from_iterable(part.parameters for part in parts):
        parameter.requires_grad_(True)
    return AdamW([ParameterGroup.of(part.parameters, part.rate) for part in parts], WEIGHT_DECAY)


def all_layers(encoder: Encoder, config: UnfreezingConfig) -> list[TrainablePart]:
    """All layers of an encoder; its other parameters (embeddings) have the learning rate of the lowest layer."""
    layers = layers_of(encoder)
    parts = top_layers(encoder, len(layers), config)
    if config.lora:
        return parts
    layer_ids = {
        id(parameter) for parameter in chain(encoder.new_parameters(), *(part.parameters for part in parts))
    }
    rest = [parameter for parameter in encoder.parameters() if id(parameter) not in layer_ids]
    return [*parts, TrainablePart(rest, config.lr * config.layer_decay ** (len(layers) - 1))]


def top_layers(encoder: Encoder, count: int, config: UnfreezingConfig) -> list[TrainablePart]:
    """The top layers of an encoder, each with a learning rate `layer_decay` times that of the layer above."""
    layers = layers_of(encoder)[::-1][:count]
    if config.lora:
        lora.add_updates(encoder, layers, config.lora)
    if config.checkpointing:
        for layer in layers:
            _checkpoint_activations(layer)
    parameters_of = lora.update_parameters if config.lora else nn.Module.parameters
    rates = [config.lr * config.layer_decay**depth for depth in range(len(layers))]
    return [TrainablePart(list(parameters_of(layer)), rate) for layer, rate in zip(layers, rates, strict=True)]


def _checkpoint_activations(layer: nn.Module) -> None:
    """Recompute the layer's activations in the backward pass instead of storing them, where it is trained."""
    from torch.utils.checkpoint import checkpoint

    original_forward = layer.forward

    def forward(*inputs, **options):
        if not torch.is_grad_enabled() or not any(parameter.requires_grad for parameter in layer.parameters()):
            return original_forward(*inputs, **options)
        return checkpoint(original_forward, *inputs, use_reentrant=False, preserve_rng_state=False, **options)

    layer.forward = forward


def layers_of(encoder: nn.Module) -> list[nn.Module]:
    """The layers from the bottom up: those of the last ModuleList or, without one, the children with weights."""
    lists = _outermost_lists(encoder)
    if lists:
        return list(lists[-1])
    while len(layers := [child for child in encoder.children() if any(True for _ in child.parameters())]) == 1:
        encoder = layers[0]
    return layers or [encoder]


def _outermost_lists(network: nn.Module) -> list[nn.ModuleList]:
    lists = []
    for child in network.children():
        # not isinstance: ParametrizationList is a subclass
        lists += [child] if type(child) is nn.ModuleList else _outermost_lists(child)
    return lists


def check_trainable(encoder: Encoder | None, modality: str, name: str, remedy: str) -> Encoder:
    """The encoder; refuse to fine-tune one without weights; `remedy` tells the user how to avoid it."""
    if encoder is None or not any(True for _ in encoder.parameters()):
        raise UserError(
            f"params.yaml: encode.{modality}.encoder = {name!r}: it has no weights to fine-tune; "
            f"choose another encoder, or {remedy}"
        )
    return encoder


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write the fine-tuned weights, low-rank updates merged, and the encoder's name, for the stage `encode`."""
    lora.merge_updates(encoder)
    results.recreate_folder(folder)
    results.write_json(folder / "config.json", {"encoder": encoder.name})
    # copies: safetensors refuses tensors that share memory
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in encoder.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def to_device(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move every tensor to the device."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}

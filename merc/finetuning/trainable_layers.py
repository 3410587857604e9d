"""Which layers of an encoder are fine-tuned, at which learning rates; and the encoder's file afterwards."""

from collections.abc import Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from merc.data.records import manifest as manifests
from merc.encoders.base.encoder import Encoder
from merc.encoders.pretrained.sources import WEIGHTS_FOLDER
from merc.finetuning import lora
from merc.finetuning.finetuning_config import UnfreezingConfig
from merc.runtime import results, resume
from merc.runtime.errors import UserError
from merc.training.core.optim import TrainablePart


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
    return [*parts, TrainablePart(rest, config.lr * config.layer_decay ** (len(layers) - 1), config.freeze_epochs)]


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
    return [
        TrainablePart(list(parameters_of(layer)), rate, config.freeze_epochs)
        for layer, rate in zip(layers, rates, strict=True)
    ]


def _checkpoint_activations(layer: nn.Module) -> None:
    """Recompute the layer's activations in the backward pass instead of storing them, where it is trained.

    A bound method, so that the layer's copy in the moving average computes with its own weights.
    """
    layer.forward = MethodType(_forward_with_checkpoint, layer)


def _forward_with_checkpoint(layer: nn.Module, *inputs: Any, **options: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    forward = partial(type(layer).forward, layer)
    if not torch.is_grad_enabled() or not any(parameter.requires_grad for parameter in layer.parameters()):
        return forward(*inputs, **options)
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False, **options)


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


def input_files(corpora: Iterable[str], *folders: Path) -> list:
    """Name, size and time of all files of the corpora's train and dev splits, data/weights and the folders."""
    extracted = [manifests.split_folder(split, corpus) for split in ("train", "dev") for corpus in corpora]
    return resume.folder_identities(*extracted, WEIGHTS_FOLDER, *folders)

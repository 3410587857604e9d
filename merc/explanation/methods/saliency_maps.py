"""Saliency maps of faces: Grad-CAM of convolutional encoders, attention rollout of ViTs, occlusion of any other."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.data.records.encoder_inputs import VisionInput
from merc.encoders.base.encoder import Encoder
from merc.explanation.methods.encoder_probe import EncoderProbe

CELLS = 8  # occluded cells along each side of the crop
GRAD_CAM, ROLLOUT, OCCLUSION = "grad-cam", "attention rollout", "occlusion"


@dataclass(frozen=True)
class SaliencyMaps:
    """Saliency of each place of the picture at each step, by one method."""

    method: str
    maps: np.ndarray  # (S, height, width); S = 1 where a cell is occluded at all steps at once
    signed: bool  # occlusion: fall of the log-odds; the other methods: not negative


def compute_saliency(
    encoder_probe: EncoderProbe[Encoder], row: Tensor, emotion: Tensor, faces: VisionInput
) -> SaliencyMaps:
    """Saliency maps of one row (1,) and its emotion (1,), by the method that the encoder's architecture allows."""
    tensors = encoder_probe.prepare([faces])
    backbone = getattr(encoder_probe.encoder, "backbone", None)
    if backbone is not None:
        if (layer := last_feature_layer(backbone)) is not None:
            return SaliencyMaps(GRAD_CAM, grad_cam(encoder_probe, row, emotion, tensors, layer), signed=False)
        if (maps := encoder_rollout(encoder_probe.encoder, tensors)) is not None:
            return SaliencyMaps(ROLLOUT, maps, signed=False)
    return SaliencyMaps(OCCLUSION, occlusion_map(encoder_probe, row, emotion, tensors), signed=True)


def last_feature_layer(backbone: nn.Module) -> nn.Module | None:
    """The layer that outputs the last feature maps: torchvision's last block, else the last convolution.

    None for transformers, whose only convolution cuts the picture into patches.
    """
    network = getattr(backbone, "network", backbone)
    if hasattr(network, "layer4"):  # ResNet and R3D: the shortcut's convolution is registered after the last one
        return cast("nn.Module", network.layer4)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    is_transformer = any(isinstance(module, nn.MultiheadAttention) for module in backbone.modules()) or hasattr(
        getattr(network, "config", None), "num_attention_heads"
    )
    return None if is_transformer or not convolutions else convolutions[-1]


def grad_cam(
    encoder_probe: EncoderProbe[Encoder], row: Tensor, emotion: Tensor, tensors: dict[str, Tensor], layer: nn.Module
) -> np.ndarray:
    """(S, h, w) ReLU of the feature maps weighted by their mean gradients (Selvaraju et al. 2017), by captum."""
    from captum.attr import LayerGradCam

    name = _pixels_name(encoder_probe.encoder)

    def log_odds(pixels: Tensor) -> Tensor:
        return encoder_probe.log_odds(row, emotion, {**tensors, name: pixels})

    maps = LayerGradCam(log_odds, layer).attribute(tensors[name].requires_grad_(), relu_attributions=True)
    maps = cast("Tensor", maps).detach()[:, 0]  # of the one input
    return (maps.mean(1) if maps.ndim == 4 else maps).cpu().numpy()  # mean over a video's frames within one step


def encoder_rollout(encoder: nn.Module, tensors: dict[str, Tensor]) -> np.ndarray | None:
    """(S, h, w) contribution of each patch to CLS (Abnar and Zuidema 2020).

    None if the model does not return attention weights between CLS and a square of patches.
    """
    backbone: Any = encoder.backbone  # merc/encoders/vision/backbones.py
    network = backbone.network
    if not hasattr(network, "set_attn_implementation"):
        return None
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")  # the only one that returns its weights
    with torch.no_grad():
        pixels = (tensors["clips"] - cast("Tensor", encoder.mean)) / cast("Tensor", encoder.std)
        inputs = pixels if getattr(backbone, "of_clips", False) else pixels[:, 0]
        layers = network(pixel_values=inputs, output_attentions=True).attentions
    network.set_attn_implementation(before)
    if not layers or layers[0].shape[0] != len(pixels) or layers[0].shape[-1] != layers[0].shape[-2]:
        return None
    side = round((layers[0].shape[-1] - 1) ** 0.5)
    if side * side + 1 != layers[0].shape[-1] or not backbone.first:
        return None
    return attention_rollout(torch.stack(layers)).view(-1, side, side).cpu().numpy()


def attention_rollout(layers: Tensor) -> Tensor:
    """Attention weights (L, K, heads, 1 + P, 1 + P) -> contribution of each patch to the final CLS (K, P)."""
    eye = torch.eye(layers.shape[-1], device=layers.device)
    total = eye.expand(layers.shape[1], -1, -1)
    for layer in layers.mean(2):  # half of each token is its own input, through the residual connection
        total = (layer + eye) / 2 @ total
    return total[:, 0, 1:]


def occlusion_map(
    encoder_probe: EncoderProbe[Encoder], row: Tensor, emotion: Tensor, tensors: dict[str, Tensor]
) -> np.ndarray:
    """(1, CELLS, CELLS) fall of the log-odds when a cell has the picture's mean colour at all steps."""
    name = _pixels_name(encoder_probe.encoder)
    pixels = tensors[name]
    mean = pixels.mean(dim=(-2, -1), keepdim=True)
    cells = torch.eye(CELLS * CELLS, device=pixels.device).view(-1, 1, CELLS, CELLS)
    masks = functional.interpolate(cells, pixels.shape[-2:], mode="nearest")[:, 0].bool()
    with torch.no_grad():
        features = [encoder_probe.encoder(tensors)[0]]
        features += [encoder_probe.encoder({**tensors, name: torch.where(mask, mean, pixels)})[0] for mask in masks]
        count = len(features)
        log_odds = encoder_probe.log_odds_of_features(row.repeat(count), emotion.repeat(count), torch.cat(features))
    return (log_odds[0] - log_odds[1:]).view(1, CELLS, CELLS).cpu().numpy()


def _pixels_name(encoder: Encoder) -> str:
    """Name of the tensor with the pixels, which every vision encoder has."""
    return cast("str", encoder.differentiable)

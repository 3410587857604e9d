"""Where in the picture: Grad-CAM of convolutional encoders, attention rollout of ViTs, occlusion of any encoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.encoders.raw import Faces
from merc.through import Through

CELLS = 8  # along a side of the crop: what is hidden at a time
GRAD_CAM, ROLLOUT, OCCLUSION = "grad-cam", "attention rollout", "occlusion"


@dataclass(frozen=True)
class Sight:
    """How much each place of the picture counts, by one method, at each moment that was looked at."""

    method: str
    maps: np.ndarray  # (S, height, width); S = 1 where all moments were hidden at once
    signed: bool  # occlusion: log-odds that are lost; the others: shares, 0 and more


def look(through: Through, row: Tensor, emotion: Tensor, faces: Faces) -> Sight:
    """The map that this kind of encoder allows, of one row (1,) and its emotion (1,)."""
    tensors = through.prepare([faces])
    backbone = getattr(through.encoder, "backbone", None)
    if backbone is not None:
        if (layer := last_maps(backbone)) is not None:
            return Sight(GRAD_CAM, grad_cam(through, row, emotion, tensors, layer), signed=False)
        if (rolled := rollout(through.encoder, tensors)) is not None:
            return Sight(ROLLOUT, rolled, signed=False)
    return Sight(OCCLUSION, hidden(through, row, emotion, tensors), signed=True)


def last_maps(backbone: nn.Module) -> nn.Module | None:
    """What gives the last feature maps: torchvision's last block, else the last convolution after the first."""
    inner = getattr(backbone, "network", backbone)
    if hasattr(inner, "layer4"):  # ResNet and R3D: its shortcut's convolution is registered after the last one
        return inner.layer4
    convolutions = [one for one in backbone.modules() if isinstance(one, nn.Conv2d | nn.Conv3d)]
    tokens = any(isinstance(one, nn.MultiheadAttention) for one in backbone.modules()) or hasattr(
        getattr(inner, "config", None), "num_attention_heads"
    )
    return None if tokens or not convolutions else convolutions[-1]  # a ViT's only cuts the picture into patches


def grad_cam(through: Through, row: Tensor, emotion: Tensor, tensors: dict, layer: nn.Module) -> np.ndarray:
    """(S, h, w) ReLU of the feature maps weighted by their mean gradients (Selvaraju et al. 2017), by captum."""
    from captum.attr import LayerGradCam

    name = through.encoder.differentiable

    def worth(pixels: Tensor) -> Tensor:
        return through.log_odds(row, emotion, {**tensors, name: pixels})

    maps = LayerGradCam(worth, layer).attribute(tensors[name].requires_grad_(), relu_attributions=True)
    maps = maps.detach()[:, 0]
    return (maps.mean(1) if maps.ndim == 4 else maps).cpu().numpy()  # a video's frames within one step


def rollout(encoder: nn.Module, tensors: dict) -> np.ndarray | None:
    """(S, h, w) how much of CLS each patch is (Abnar and Zuidema 2020); None where tokens are no square."""
    network = encoder.backbone.network
    if not hasattr(network, "set_attn_implementation"):
        return None
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")  # the only one that returns its weights
    with torch.no_grad():
        pixels = (tensors["clips"] - encoder.mean) / encoder.std
        shown = pixels if getattr(encoder.backbone, "of_clips", False) else pixels[:, 0]
        layers = network(pixel_values=shown, output_attentions=True).attentions
    network.set_attn_implementation(before)
    if not layers or layers[0].shape[0] != len(pixels) or layers[0].shape[-1] != layers[0].shape[-2]:
        return None
    side = round((layers[0].shape[-1] - 1) ** 0.5)
    if side * side + 1 != layers[0].shape[-1] or not encoder.backbone.first:
        return None
    return rolled(torch.stack(layers)).view(-1, side, side).cpu().numpy()


def rolled(layers: Tensor) -> Tensor:
    """(L, K, heads, 1 + P, 1 + P) attention weights -> (K, P): the share of each patch in what CLS ends up as."""
    eye = torch.eye(layers.shape[-1], device=layers.device)
    total = eye.expand(layers.shape[1], -1, -1)
    for layer in layers.mean(2):  # half of each token is itself, through the residual
        total = (layer + eye) / 2 @ total
    return total[:, 0, 1:]


def hidden(through: Through, row: Tensor, emotion: Tensor, tensors: dict) -> np.ndarray:
    """(1, CELLS, CELLS) how much the log-odds fall when a place has the picture's mean colour throughout."""
    name = through.encoder.differentiable
    pixels = tensors[name]
    mean = pixels.mean(dim=(-2, -1), keepdim=True)
    cells = torch.eye(CELLS * CELLS, device=pixels.device).view(-1, 1, CELLS, CELLS)
    masks = functional.interpolate(cells, pixels.shape[-2:], mode="nearest")[:, 0].bool()
    with torch.no_grad():
        seen = [through.encoder(tensors)[0]]
        seen += [through.encoder({**tensors, name: torch.where(mask, mean, pixels)})[0] for mask in masks]
        worth = through.worth(row.repeat(len(seen)), emotion.repeat(len(seen)), torch.cat(seen))
    return (worth[0] - worth[1:]).view(1, CELLS, CELLS).cpu().numpy()

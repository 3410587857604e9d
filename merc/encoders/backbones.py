"""Picture and video networks as (K, frames, 3, height, width) -> (K, dim)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from merc.encoders import pretrained, sources
from merc.encoders.looks import Looks, Scaling
from merc.problem import Problem

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))  # torchvision's, for its video networks
TORCHVISION = "https://download.pytorch.org/models/"


class _Picture(nn.Module):
    """A network of single pictures (K, 3, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        return self.network(clips[:, 0])


class _Video(nn.Module):
    """A torchvision network of clips (K, 3, frames, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        return self.network(clips.transpose(1, 2))


class _Tokens(nn.Module):
    """A Hugging Face network: its CLS token if it has one, else the mean of all that it returns."""

    def __init__(self, network: nn.Module, of_clips: bool) -> None:
        super().__init__()
        self.network, self.of_clips = network, of_clips
        names = [name for name, _ in network.named_parameters()]
        self.first = any(name.endswith(("cls_token", "class_embedding")) for name in names)

    def forward(self, clips: Tensor) -> Tensor:
        hidden = self.network(pixel_values=clips if self.of_clips else clips[:, 0]).last_hidden_state
        if hidden.ndim == 4:  # (K, dim, height, width)
            return hidden.mean(dim=(2, 3))
        return hidden[:, 0] if self.first else hidden.mean(dim=1)


def resnet50(name: str, frame_rate: float) -> Looks:
    """He et al. 2016, ImageNet weights, up to the global pooling."""
    file = sources.checkpoint(
        name, TORCHVISION + "resnet50-11ad3fa6.pth"
    )  # before torchvision is imported, which takes seconds
    from torchvision.models import resnet50 as network

    filled = pretrained.load(network(), file)
    filled.fc = nn.Identity()
    return Looks(name, _Picture(filled), 2048, Scaling(224, 224, *IMAGENET), frame_rate)


def r3d_18(name: str, frame_rate: float) -> Looks:
    """Tran et al. 2018, Kinetics-400 weights, up to the global pooling."""
    file = sources.checkpoint(
        name, TORCHVISION + "r3d_18-b3b3357e.pth"
    )  # before torchvision is imported, which takes seconds
    from torchvision.models.video import r3d_18 as network

    filled = pretrained.load(network(), file)
    filled.fc = nn.Identity()
    return Looks(name, _Video(filled), 512, Scaling(112, 112, *KINETICS, frames=16), frame_rate)


def vision(name: str, folder: Path, frame_rate: float) -> Looks:
    """Any image or video model of a Hugging Face folder; of a model with two towers the one that sees."""
    model = pretrained.model(folder)
    model = getattr(model, "vision_model", model)
    frames = getattr(model.config, "num_frames", None)
    scaling = _scaling(folder, model.config, frames or 1)
    backbone = _Tokens(model, frames is not None)
    with torch.inference_mode():
        dim = backbone(torch.zeros(1, scaling.frames, 3, scaling.height, scaling.width)).shape[1]
    return Looks(name, backbone, dim, scaling, frame_rate)


def _scaling(folder: Path, config: object, frames: int) -> Scaling:
    told = pretrained.preprocessor(folder)
    size = getattr(config, "image_size", None) or told.get("crop_size") or told.get("size")
    height, width = _sides(size)
    if not height:
        raise Problem(f"{folder}/preprocessor_config.json: size = {size!r}: no height and width in it")
    mean, std = told.get("image_mean") or (0.0,) * 3, told.get("image_std") or (1.0,) * 3
    return Scaling(height, width, tuple(mean), tuple(std), frames)


def _sides(size: object) -> tuple[int, int]:
    if isinstance(size, dict):
        both = size.get("shortest_edge", 0)
        return size.get("height", both), size.get("width", both)
    return tuple(size) if isinstance(size, list | tuple) else (int(size or 0),) * 2

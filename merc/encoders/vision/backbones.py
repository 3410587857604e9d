"""Pretrained image and video networks, wrapped as clips (K, frames, 3, height, width) -> (K, dim)."""

from importlib import import_module
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from merc.encoders.pretrained import loading, sources
from merc.encoders.vision.vision_model_encoder import InputScaling, VisionModelEncoder
from merc.runtime.errors import UserError

TORCHVISION_MODELS = {  # name -> module that builds the network, width, input
    "resnet50": (  # He et al. 2016, ImageNet
        "torchvision.models",
        2048,
        InputScaling(224, 224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ),
    "r3d_18": (  # Tran et al. 2018, Kinetics-400
        "torchvision.models.video",
        512,
        InputScaling(112, 112, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989), frames=16),
    ),
}


class _TorchvisionNetwork(nn.Module):
    """Applies a torchvision network: of images (K, 3, H, W) to the first frames, of clips (K, 3, frames, H, W)."""

    def __init__(self, network: nn.Module, of_clips: bool) -> None:
        super().__init__()
        self.network, self.of_clips = network, of_clips

    def forward(self, clips: Tensor) -> Tensor:
        return self.network(clips.transpose(1, 2) if self.of_clips else clips[:, 0])


class _HuggingFaceNetwork(nn.Module):
    """Applies a Hugging Face network: its CLS token if it has one, else the mean over all tokens or positions."""

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


def load_torchvision_model(name: str, frame_rate: float) -> VisionModelEncoder:
    """Load a network of TORCHVISION_MODELS up to the global pooling."""
    module, dim, scaling = TORCHVISION_MODELS[name]
    # before the import of torchvision, which takes seconds: a missing checkpoint fails at once
    file = sources.checkpoint_file(name)
    network = loading.load_checkpoint(getattr(import_module(module), name)(), file)
    network.fc = nn.Identity()
    return VisionModelEncoder(name, _TorchvisionNetwork(network, scaling.frames > 1), dim, scaling, frame_rate)


def load_vision_model(name: str, folder: Path, frame_rate: float) -> VisionModelEncoder:
    """Load an image or video model of a Hugging Face folder; of a two-tower model, the vision tower."""
    model = loading.load_model(folder)
    model = getattr(model, "vision_model", model)
    frames = getattr(model.config, "num_frames", None)
    scaling = _scaling(folder, model.config, frames or 1)
    backbone = _HuggingFaceNetwork(model, frames is not None)
    with torch.inference_mode():
        dim = backbone(torch.zeros(1, scaling.frames, 3, scaling.height, scaling.width)).shape[1]
    return VisionModelEncoder(name, backbone, dim, scaling, frame_rate)


def _scaling(folder: Path, config: object, frames: int) -> InputScaling:
    """Input scaling from the configurations of the model and of its preprocessor."""
    settings = loading.read_preprocessor_config(folder)
    size = getattr(config, "image_size", None) or settings.get("crop_size") or settings.get("size")
    height, width = _height_and_width(size)
    if not height:
        raise UserError(f"{folder}/preprocessor_config.json: size = {size!r}: no height and width in it")
    mean, std = settings.get("image_mean") or (0.0,) * 3, settings.get("image_std") or (1.0,) * 3
    return InputScaling(height, width, tuple(mean), tuple(std), frames)


def _height_and_width(size: dict[str, int] | list[int] | tuple[int, int] | int | None) -> tuple[int, int]:
    """Of a size in any of the forms that Hugging Face configurations use."""
    if isinstance(size, dict):
        edge = size.get("shortest_edge", 0)
        return size.get("height", edge), size.get("width", edge)
    if isinstance(size, list | tuple):
        return cast("tuple[int, int]", tuple(size))
    edge = int(size or 0)
    return edge, edge

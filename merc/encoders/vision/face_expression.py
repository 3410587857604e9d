"""The facial expression network of face-api.js: depthwise-separable convolutions in densely added blocks.

Classes: neutral, happy, sad, angry, fearful, disgusted, surprised. A feature is the input of their linear map.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.encoders.pretrained import loading
from merc.encoders.vision.vision_model_encoder import InputScaling, VisionModelEncoder

CLASSES, WIDTH = 7, 256
SCALING = InputScaling(112, 112, mean=(122.782 / 255, 117.001 / 255, 104.298 / 255), std=(1.0, 1.0, 1.0))


class Convolution(nn.Conv2d):
    """3x3, padded as TensorFlow pads even sides: at stride 2 below and to the right alone."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, stride, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        before = 2 - self.stride[0]
        return super().forward(functional.pad(input, (before, 1, before, 1)))


class SeparableConvolution(nn.Module):
    """A convolution of each channel, then a linear map of the channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = Convolution(in_channels, in_channels, stride, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(values))


class DenseBlock(nn.Module):
    """Four convolutions, each over the rectified sum of the outputs before it."""

    def __init__(self, first: nn.Module, width: int) -> None:
        super().__init__()
        self.conv0 = first
        self.conv1, self.conv2, self.conv3 = (SeparableConvolution(width, width) for _ in range(3))

    def forward(self, values: Tensor) -> Tensor:
        total = self.conv0(values).relu()
        for convolution in (self.conv1, self.conv2, self.conv3):
            total = total + convolution(total.relu())
        return total.relu()


class FaceExpressionNetwork(nn.Module):
    """Clips of one picture (K, 1, 3, 112, 112), scaled -> logits of the classes (K, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.dense0 = DenseBlock(Convolution(3, 32, 2), 32)
        self.dense1 = DenseBlock(SeparableConvolution(32, 64, 2), 64)
        self.dense2 = DenseBlock(SeparableConvolution(64, 128, 2), 128)
        self.dense3 = DenseBlock(SeparableConvolution(128, WIDTH, 2), WIDTH)
        self.fc: nn.Module = nn.Linear(WIDTH, CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        pictures = clips[:, 0].contiguous(memory_format=torch.channels_last)  # 4.1 ms a picture, else 7.0
        maps = self.dense3(self.dense2(self.dense1(self.dense0(pictures))))
        return self.fc(maps.mean(dim=(2, 3)))


def load_face_expression(name: str, folder: Path, frame_rate: float) -> VisionModelEncoder:
    """Load the network up to the global pooling from model.safetensors of a folder."""
    loaded = loading.load_checkpoint(FaceExpressionNetwork(), folder / "model.safetensors")
    network = cast("FaceExpressionNetwork", loaded)
    network.fc = nn.Identity()
    return VisionModelEncoder(name, network, WIDTH, SCALING, frame_rate)

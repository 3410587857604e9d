"""Base class of pretrained speech encoders: one or several hidden layers, or a mixture, averaged over each step."""

from typing import Literal

import torch
from torch import Tensor, nn

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio.framed_encoder import FramedAudioEncoder, frames_per_step_for
from merc.runtime.errors import UserError

FRAME_HOP = 320  # samples between the starts of two frames
# index of a hidden layer (-1 = the last); the three in the middle side by side; mean of all; a learned mean of all
HiddenLayer = int | Literal["middle", "mean", "weighted"]


class HiddenStateEncoder(FramedAudioEncoder):
    """Hidden states of a transformer.

    `weighted` mixes the layers by a softmax over one parameter per layer (ELMo, Peters et al. 2018; S3PRL for
    speech). The parameters start at 0: without adapt or finetune the result is the plain mean.
    """

    supports_half_precision = True

    def __init__(self, name: str, frame_rate: float, layer: HiddenLayer, num_layers: int) -> None:
        super().__init__(name, FRAME_HOP, frames_per_step_for(frame_rate, SAMPLE_RATE / FRAME_HOP))
        self.layer, self.middle = layer, middle_layers(num_layers)
        self.num_states = min(3, num_layers + 1) if layer == "middle" else 1  # side by side in a feature vector
        if layer == "weighted":
            self.mixture = nn.Parameter(torch.zeros(num_layers))

    def new_parameters(self) -> list[nn.Parameter]:
        return [self.mixture] if self.layer == "weighted" else []

    def select(self, hidden: list[Tensor]) -> Tensor:
        """(N, frames, dim) from the input of the first layer and the output of each."""
        if isinstance(self.layer, int):
            return hidden[self.layer]
        if self.layer == "middle":
            return torch.cat(hidden[self.middle], dim=2)
        stacked = torch.stack(hidden[1:])
        if self.layer == "mean":
            return stacked.mean(dim=0)
        return torch.einsum("lntd,l->ntd", stacked, self.mixture.softmax(dim=0))


def middle_layers(num_layers: int) -> slice:
    """The three hidden states around the middle: 1 to 3 of four layers, 2 to 4 of six."""
    return slice(max(num_layers // 2 - 1, 0), num_layers // 2 + 2)


def check_layer(name: str, layer: HiddenLayer, num_layers: int) -> None:
    """Raise a UserError if the model has no such layer."""
    if isinstance(layer, int) and not -num_layers <= layer <= num_layers:
        raise UserError(f"params.yaml: encode.audio.layer = {layer}: {name} has {num_layers} layers")

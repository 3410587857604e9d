"""The middle layers of two Whispers side by side, as statistics of each step."""

import torch
from torch import Tensor

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio.framed_encoder import FramedAudioEncoder, frames_per_step_for
from merc.encoders.audio.hidden_state_encoder import FRAME_HOP
from merc.encoders.audio.whisper_encoder import WhisperEncoder, load_whisper_encoder
from merc.encoders.pretrained import sources
from merc.encoders.pretrained.cards import SETS
from merc.runtime.numerics import square_root


class WhisperPair(FramedAudioEncoder):
    """A step is [mean; standard deviation] over its frames of both encoders' three middle layers.

    Steps of a second serve best: 6 points of UAR on RAVDESS's dev more than the means of a tenth (docs/log.md).
    """

    supports_half_precision = True

    def __init__(self, name: str, frame_rate: float, first: WhisperEncoder, second: WhisperEncoder) -> None:
        super().__init__(name, FRAME_HOP, frames_per_step_for(frame_rate, SAMPLE_RATE / FRAME_HOP))
        self.first, self.second = first, second
        self.dim = 2 * (first.dim + second.dim)

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        lengths = tensors["lengths"]
        values = torch.cat([self.first.states(tensors), self.second.states(tensors)], dim=2)
        mean = self.pool(values, lengths)
        centred = values - mean.repeat_interleave(self.frames_per_step, dim=1)[:, : values.shape[1]]
        deviation = square_root(self.pool(centred.square(), lengths) + 1e-5)
        return torch.cat([mean, deviation], dim=2), self.steps(lengths)


def load_whisper_pair(name: str, frame_rate: float) -> WhisperPair:
    """Load both encoders."""
    parts = [load_whisper_encoder(part, sources.model_folder(part), frame_rate, "middle") for part in SETS[name]]
    return WhisperPair(name, frame_rate, *parts)

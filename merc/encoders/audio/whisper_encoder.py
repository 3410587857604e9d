"""The encoder half of Whisper (Radford et al. 2022) on sounds of their own length.

transformers' WhisperEncoder.forward insists on 30 s, ten times an utterance; its parts are called here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.encoders.audio.hidden_state_encoder import (
    FRAME_HOP,
    HiddenLayer,
    HiddenStateEncoder,
    check_layer,
    middle_layers,
)
from merc.encoders.pretrained import loading

if TYPE_CHECKING:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as HuggingFaceEncoder

MEL_HOP = 160  # samples between two log-mel frames, of which the second convolution makes one of two
MEL_WINDOW = 400  # samples: 25 ms
MEL_FLOOR = 1e-10  # least power
RANGE = 8.0  # decades below the loudest value of a window that are kept


class WhisperEncoder(HiddenStateEncoder):
    """Hidden states of Whisper's encoder; sounds longer than its window (30 s) are encoded window by window."""

    window: Tensor
    bands: Tensor
    positions: Tensor

    def __init__(self, name: str, model: "HuggingFaceEncoder", frame_rate: float, layer: HiddenLayer) -> None:
        """`model` ends at the highest layer chosen: an index is then that of its last, `middle` ends there."""
        super().__init__(name, frame_rate, -1 if isinstance(layer, int) else layer, len(model.layers))
        self.middle = slice(-3, None)
        from transformers import WhisperFeatureExtractor

        self.config, self.dim = model.config, self.num_states * model.config.d_model
        self.conv1, self.conv2, self.layers, self.norm = model.conv1, model.conv2, model.layers, model.layer_norm
        self.register_buffer("positions", model.embed_positions.weight.detach())  # sinusoids, which are not trained
        bands = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).mel_filters
        self.register_buffer("bands", torch.from_numpy(bands).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(MEL_WINDOW), persistent=False)

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self.pool(self.states(tensors), tensors["lengths"]), self.steps(tensors["lengths"])

    def states(self, tensors: dict[str, Tensor]) -> Tensor:
        """Hidden states (N, frames, dim), 50 a second."""
        samples, lengths = tensors["samples"], tensors["lengths"]
        size = len(self.positions) * FRAME_HOP
        windows = enumerate(samples.split(size, dim=1))
        return torch.cat(
            [self._window(window, (lengths - number * size).clamp(max=size)) for number, window in windows], dim=1
        )

    def log_mel(self, samples: Tensor) -> Tensor:
        """Samples (N, L) of at most a window -> (N, bands, frames), as WhisperFeatureExtractor's of 30 s begin."""
        frames = (samples.shape[1] - 1) // MEL_HOP + 1
        # two frames more still hear the end of the longest sound; the loudest value may be theirs
        length = MEL_HOP * (min(frames + 2, 2 * len(self.positions)) - 1) + MEL_WINDOW // 2
        padded = functional.pad(samples.float(), (0, length - samples.shape[1]))
        padded = functional.pad(padded, (MEL_WINDOW // 2, 0), mode="reflect")
        with torch.autocast(samples.device.type, enabled=False):  # half precision has no such small powers
            spectrum = torch.stft(
                padded, MEL_WINDOW, MEL_HOP, window=self.window, center=False, return_complex=True
            )
            power = torch.view_as_real(spectrum).square().sum(dim=-1)
            values = (self.bands.T @ power).clamp(min=MEL_FLOOR).log10()
        values = torch.maximum(values, values.amax(dim=(1, 2), keepdim=True) - RANGE)
        return (values[:, :, :frames] + 4) / 4

    def _window(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states (N, frames, dim) of a window; zeros for sounds that end before it (length 0 or less)."""
        rows = (lengths > 0).nonzero()[:, 0]
        states = self._encode(samples[rows], lengths[rows])
        return states.new_zeros(len(lengths), *states.shape[1:]).index_copy(0, rows, states)

    def _encode(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Samples (N, L) -> hidden states (N, frames, dim); beyond its end a sound is zero to each convolution."""
        from transformers.masking_utils import create_bidirectional_mask

        values = self.log_mel(samples)
        is_sound = _mask((lengths - 1).div(MEL_HOP, rounding_mode="floor") + 1, values.shape[2])[:, None]
        values = functional.gelu(self.conv1(values * is_sound)) * is_sound
        values = functional.gelu(self.conv2(values)).transpose(1, 2)
        values = values + self.positions[: values.shape[1]]
        attended = create_bidirectional_mask(
            config=self.config, inputs_embeds=values, attention_mask=_mask(self.frames(lengths), values.shape[1])
        )
        hidden = [values]
        for layer in self.layers:
            hidden.append(layer(hidden[-1], attended))
        return self.select([*hidden[:-1], self.norm(hidden[-1])])


def load_whisper_encoder(name: str, folder: Path, frame_rate: float, layer: HiddenLayer) -> WhisperEncoder:
    """Load the encoder of a Whisper of a Hugging Face folder, without the layers above the chosen one."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as HuggingFaceEncoder

    num_layers = loading.read_config(folder)["encoder_layers"]
    check_layer(name, layer, num_layers)
    if layer == "middle":
        used = middle_layers(num_layers).stop - 1
    else:
        used = num_layers if isinstance(layer, str) else layer % (num_layers + 1)
    names = {r"^(model\.)?encoder\.": ""}  # of the whole model -> of its encoder
    model: Any = loading.load_model(folder, HuggingFaceEncoder, key_mapping=names, encoder_layers=used)
    if used < num_layers:
        model.layer_norm = nn.Identity()  # which follows the last layer
    return WhisperEncoder(name, model, frame_rate, layer)


def _mask(counts: Tensor, num_frames: int) -> Tensor:
    """(N, num_frames) bool: whether a frame is one of the sound."""
    return torch.arange(num_frames, device=counts.device) < counts[:, None]

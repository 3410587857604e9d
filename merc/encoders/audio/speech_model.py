"""Self-supervised speech models that take raw samples: wav2vec 2.0, HuBERT, WavLM, data2vec-audio."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from merc.encoders.audio.hidden_state_encoder import HiddenLayer, HiddenStateEncoder, check_layer
from merc.encoders.pretrained import loading
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from merc.encoders.pretrained.loading import PretrainedModel


class SpeechModelEncoder(HiddenStateEncoder):
    """Hidden states of a Hugging Face speech model."""

    min_samples = 400  # receptive field of the first frame of all these models

    def __init__(
        self, name: str, model: "PretrainedModel", *, frame_rate: float, layer: HiddenLayer, normalise: bool
    ) -> None:
        super().__init__(name, frame_rate, layer, model.config.num_hidden_layers)
        self.model, self.normalise = model, normalise
        self.dim = self.num_states * model.config.hidden_size
        # a group norm runs over time: padding would change the features, so that sounds are encoded one by one
        self.unbatched = getattr(model.config, "feat_extract_norm", "layer") == "group"

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        rows = [(samples[i : i + 1, : lengths[i]], lengths[i : i + 1]) for i in range(len(lengths))]
        hidden = [self._encode(*row) for row in rows] if self.unbatched else [self._encode(samples, lengths)]
        num_frames = max(states.shape[1] for states in hidden)
        padded = [nn.functional.pad(states, (0, 0, 0, num_frames - states.shape[1])) for states in hidden]
        return self.pool(torch.cat(padded), lengths), self.steps(lengths)

    def frames(self, lengths: Tensor) -> Tensor:
        return self.model._get_feat_extract_output_lengths(lengths)

    def _encode(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Samples (N, L) -> hidden states (N, frames, dim)."""
        mask = (torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]).long()
        if self.normalise:
            samples = _normalised(samples, mask)
        attention_mask = None if self.unbatched else mask
        if self.layer == -1:
            return self.model(samples, attention_mask=attention_mask).last_hidden_state
        hidden = self.model(samples, attention_mask=attention_mask, output_hidden_states=True).hidden_states
        return self.select(list(hidden))


def load_speech_encoder(name: str, folder: Path, frame_rate: float, layer: HiddenLayer) -> SpeechModelEncoder:
    """Load the speech model of a Hugging Face folder."""
    model = loading.load_model(folder)
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        raise UserError(
            f"{folder}: a {model.config.model_type} model does not hear samples; "
            "use wav2vec2, hubert, wavlm, data2vec-audio or whisper"
        )
    check_layer(name, layer, model.config.num_hidden_layers)
    normalise = bool(loading.read_preprocessor_config(folder).get("do_normalize", True))
    return SpeechModelEncoder(name, model, frame_rate=frame_rate, layer=layer, normalise=normalise)


def _normalised(samples: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit variance over the valid samples, as in Wav2Vec2FeatureExtractor."""
    count = mask.sum(dim=1, keepdim=True)
    mean = (samples * mask).sum(dim=1, keepdim=True) / count
    variance = ((samples - mean).square() * mask).sum(dim=1, keepdim=True) / count
    return (samples - mean) * (variance + 1e-7).rsqrt() * mask

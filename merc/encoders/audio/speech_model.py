"""Self-supervised speech models that take raw samples: wav2vec 2.0, HuBERT, WavLM, data2vec-audio."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio.framed_encoder import FramedAudioEncoder, frames_per_step_for
from merc.encoders.pretrained import loading
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from merc.encoders.pretrained.loading import PretrainedModel

FRAME_HOP = 320  # samples between the starts of two frames
# index of a hidden layer (-1 = the last); mean of all layers; weighted mean with learned weights
HiddenLayer = int | Literal["mean", "weighted"]


class SpeechModelEncoder(FramedAudioEncoder):
    """Hidden states of a Hugging Face speech model, averaged over the frames of each step.

    `weighted` mixes the layers by a softmax over one parameter per layer (ELMo, Peters et al. 2018; S3PRL for
    speech). The parameters start at 0: without adapt or finetune the result is the plain mean.
    """

    supports_half_precision = True
    min_samples = 400  # receptive field of the first frame of all these models

    def __init__(
        self, name: str, model: "PretrainedModel", *, frame_rate: float, layer: HiddenLayer, normalise: bool
    ) -> None:
        super().__init__(name, FRAME_HOP, frames_per_step_for(frame_rate, SAMPLE_RATE / FRAME_HOP))
        self.model, self.layer, self.normalise = model, layer, normalise
        self.dim = model.config.hidden_size
        # a group norm runs over time: padding would change the features, so that sounds are encoded one by one
        self.unbatched = getattr(model.config, "feat_extract_norm", "layer") == "group"
        if layer == "weighted":
            self.mixture = nn.Parameter(torch.zeros(model.config.num_hidden_layers))

    def new_parameters(self) -> list[nn.Parameter]:
        return [self.mixture] if self.layer == "weighted" else []

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
        return self._mixed(hidden[1:]) if isinstance(self.layer, str) else hidden[self.layer]

    def _mixed(self, layers: tuple[Tensor, ...]) -> Tensor:
        stacked = torch.stack(layers)
        if self.layer == "mean":
            return stacked.mean(dim=0)
        return torch.einsum("lntd,l->ntd", stacked, self.mixture.softmax(dim=0))


def load_speech_encoder(name: str, folder: Path, frame_rate: float, layer: HiddenLayer) -> SpeechModelEncoder:
    """Load the speech model of a Hugging Face folder."""
    model = loading.load_model(folder)
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        raise UserError(
            f"{folder}: a {model.config.model_type} model does not hear samples; "
            "use wav2vec2, hubert, wavlm or data2vec-audio"
        )
    layers = model.config.num_hidden_layers
    if isinstance(layer, int) and not -layers <= layer <= layers:
        raise UserError(f"params.yaml: encode.audio.layer = {layer}: {name} has {layers} layers")
    normalise = bool(loading.read_preprocessor_config(folder).get("do_normalize", True))
    return SpeechModelEncoder(name, model, frame_rate=frame_rate, layer=layer, normalise=normalise)


def _normalised(samples: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit variance over the valid samples, as in Wav2Vec2FeatureExtractor."""
    count = mask.sum(dim=1, keepdim=True)
    mean = (samples * mask).sum(dim=1, keepdim=True) / count
    variance = ((samples - mean).square() * mask).sum(dim=1, keepdim=True) / count
    return (samples - mean) * (variance + 1e-7).rsqrt() * mask

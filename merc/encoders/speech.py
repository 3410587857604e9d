"""Any self-supervised speech model that hears samples: wav2vec 2.0, HuBERT, WavLM, data2vec-audio."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from merc.encoders import pretrained
from merc.encoders.hearing import Hearing, pooling
from merc.encoders.raw import RATE
from merc.problem import Problem

FRAME = 320  # samples from one frame to the next
# a hidden layer's index (-1 = the last); mean = of all layers; weighted = a mean whose weights are learnt
Layer = int | Literal["mean", "weighted"]


class Speech(Hearing):
    """Hidden states, averaged over steps.

    `weighted` mixes the layers by a softmax over one parameter each (ELMo, Peters et al. 2018; S3PRL for speech).
    All start at 0, so that an encoder that was never adapted or fine-tuned gives the plain mean.
    """

    halves = True
    shortest = 400  # samples: what the first frame of all of these models hears

    def __init__(self, name: str, model: nn.Module, *, frame_rate: float, layer: Layer, normalise: bool) -> None:
        super().__init__(name, FRAME, pooling(frame_rate, RATE / FRAME))
        self.model, self.layer, self.normalise = model, layer, normalise
        self.dim = model.config.hidden_size
        # a group norm runs over time: padding would change the features, so each sound goes alone
        self.alone = getattr(model.config, "feat_extract_norm", "layer") == "group"
        if layer == "weighted":
            self.mixture = nn.Parameter(torch.zeros(model.config.num_hidden_layers))

    def above(self) -> list[nn.Parameter]:
        return [self.mixture] if self.layer == "weighted" else []

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        rows = [(samples[i : i + 1, : lengths[i]], lengths[i : i + 1]) for i in range(len(lengths))]
        hidden = [self._hear(*row) for row in rows] if self.alone else [self._hear(samples, lengths)]
        longest = max(one.shape[1] for one in hidden)
        padded = [nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in hidden]
        return self.pool(torch.cat(padded), lengths), self.steps(lengths)

    def frames(self, lengths: Tensor) -> Tensor:
        return self.model._get_feat_extract_output_lengths(lengths)

    def _hear(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """(N, L) -> (N, frames, dim)."""
        heard = (torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]).long()
        if self.normalise:
            samples = _normalised(samples, heard)
        mask = None if self.alone else heard
        if self.layer == -1:
            return self.model(samples, attention_mask=mask).last_hidden_state
        hidden = self.model(samples, attention_mask=mask, output_hidden_states=True).hidden_states
        return self._mixed(hidden[1:]) if isinstance(self.layer, str) else hidden[self.layer]

    def _mixed(self, layers: tuple[Tensor, ...]) -> Tensor:
        stacked = torch.stack(layers)
        if self.layer == "mean":
            return stacked.mean(dim=0)
        return torch.einsum("lntd,l->ntd", stacked, self.mixture.softmax(dim=0))


def speech(name: str, folder: Path, frame_rate: float, layer: Layer) -> Speech:
    """The speech model of a folder."""
    model = pretrained.model(folder)
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        kind = model.config.model_type
        raise Problem(
            f"{folder}: a {kind} model does not hear samples; use wav2vec2, hubert, wavlm or data2vec-audio"
        )
    layers = model.config.num_hidden_layers
    if isinstance(layer, int) and not -layers <= layer <= layers:
        raise Problem(f"params.yaml: encode.audio.layer = {layer}: {name} has {layers} layers")
    normalise = bool(pretrained.preprocessor(folder).get("do_normalize", True))
    return Speech(name, model, frame_rate=frame_rate, layer=layer, normalise=normalise)


def _normalised(samples: Tensor, heard: Tensor) -> Tensor:
    """Zero mean and unit variance over what is heard, as Wav2Vec2FeatureExtractor does it."""
    count = heard.sum(dim=1, keepdim=True)
    mean = (samples * heard).sum(dim=1, keepdim=True) / count
    variance = ((samples - mean).square() * heard).sum(dim=1, keepdim=True) / count
    return (samples - mean) * (variance + 1e-7).rsqrt() * heard

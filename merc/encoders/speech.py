"""Any self-supervised speech model that hears samples: wav2vec 2.0, HuBERT, WavLM, data2vec-audio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from merc.encoders import pretrained
from merc.encoders.encoder import Encoder
from merc.encoders.raw import RATE, Sound
from merc.problem import Problem

SHORTEST = 400  # samples: what the first frame of all of these models hears
FRAME = 320  # samples from one frame to the next
Layer = int | Literal["mean"]  # index of a hidden layer (-1 = the last), or the mean of all


class Speech(Encoder):
    """Hidden states, averaged over steps."""

    unit_names = ("start", "end")
    differentiable = "samples"
    budget = 30 * RATE
    silence = Sound(np.zeros(RATE, np.float32))

    def __init__(self, name: str, model: nn.Module, *, frame_rate: float, layer: Layer, normalise: bool) -> None:
        super().__init__()
        self.name, self.model, self.layer, self.normalise = name, model, layer, normalise
        self.dim = model.config.hidden_size
        self.pooled = max(1, round(RATE / FRAME / frame_rate))  # frames in a step
        self.step_seconds = self.pooled * FRAME / RATE
        # a group norm runs over time: padding would change the features, so each sound goes alone
        self.alone = getattr(model.config, "feat_extract_norm", "layer") == "group"

    def prepare(self, raw: Sequence[Sound]) -> dict[str, Tensor]:
        """samples (N, longest) with zeros after each, and their lengths."""
        sounds = [torch.from_numpy(np.asarray(sound.samples, np.float32)) for sound in raw]
        lengths = [max(SHORTEST, len(sound)) for sound in sounds]
        samples = torch.zeros(len(raw), max(lengths))
        for row, sound in zip(samples, sounds, strict=True):
            row[: len(sound)] = sound
        return {"samples": samples, "lengths": torch.tensor(lengths)}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        rows = [(samples[i : i + 1, : lengths[i]], lengths[i : i + 1]) for i in range(len(lengths))]
        hidden = [self._hear(*row) for row in rows] if self.alone else [self._hear(samples, lengths)]
        frames = self._frames(lengths)
        longest = self.pooled * int(self._steps(frames).max())
        padded = [nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in hidden]
        return self._pool(torch.cat(padded), frames), self._steps(frames)

    def units(self, raw: Sequence[Sound]) -> list[np.ndarray]:
        lengths = torch.tensor([max(SHORTEST, len(sound.samples)) for sound in raw])
        counts = self._steps(self._frames(lengths)).tolist()
        ends = [np.arange(1, count + 1) * self.step_seconds for count in counts]
        return [np.stack([end - self.step_seconds, end], axis=1).astype(np.float32) for end in ends]

    def size(self, raw: Sound) -> int:
        return max(SHORTEST, len(raw.samples))

    def _hear(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """(N, L) -> (N, frames, dim)."""
        heard = (torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]).long()
        if self.normalise:
            samples = _normalised(samples, heard)
        mask = None if self.alone else heard
        if self.layer == -1:
            return self.model(samples, attention_mask=mask).last_hidden_state
        hidden = self.model(samples, attention_mask=mask, output_hidden_states=True).hidden_states
        return torch.stack(hidden[1:]).mean(dim=0) if self.layer == "mean" else hidden[self.layer]

    def _frames(self, lengths: Tensor) -> Tensor:
        return self.model._get_feat_extract_output_lengths(lengths)

    def _steps(self, frames: Tensor) -> Tensor:
        return (frames - 1).div(self.pooled, rounding_mode="floor") + 1

    def _pool(self, hidden: Tensor, frames: Tensor) -> Tensor:
        """(N, T, D) -> (N, T / pooled, D): the mean over the frames that are heard."""
        heard = (torch.arange(hidden.shape[1], device=hidden.device) < frames[:, None]).float()[..., None]
        sums = (hidden * heard).unflatten(1, (-1, self.pooled)).sum(dim=2)
        return sums / heard.unflatten(1, (-1, self.pooled)).sum(dim=2).clamp(min=1)


def speech(name: str, folder: Path, frame_rate: float, layer: Layer) -> Speech:
    """The speech model of a folder."""
    model = pretrained.model(folder)
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        kind = model.config.model_type
        raise Problem(
            f"{folder}: a {kind} model does not hear samples; use wav2vec2, hubert, wavlm or data2vec-audio"
        )
    layers = model.config.num_hidden_layers
    if layer != "mean" and not -layers <= layer <= layers:
        raise Problem(f"params.yaml: encode.audio.layer = {layer}: {name} has {layers} layers")
    normalise = bool(pretrained.preprocessor(folder).get("do_normalize", True))
    return Speech(name, model, frame_rate=frame_rate, layer=layer, normalise=normalise)


def _normalised(samples: Tensor, heard: Tensor) -> Tensor:
    """Zero mean and unit variance over what is heard, as Wav2Vec2FeatureExtractor does it."""
    count = heard.sum(dim=1, keepdim=True)
    mean = (samples * heard).sum(dim=1, keepdim=True) / count
    variance = ((samples - mean).square() * heard).sum(dim=1, keepdim=True) / count
    return (samples - mean) / (variance + 1e-7).sqrt() * heard

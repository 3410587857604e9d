"""The network's log-odds as a function of one encoder's inputs: words, sound samples or pixels."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from merc.encoders.base.encoder import Encoder
from merc.explanation.counterfactual import Change, Probe, log_odds

EncoderT = TypeVar("EncoderT", bound=Encoder, covariant=True)


@dataclass(frozen=True)
class EncoderProbe(Generic[EncoderT]):
    """An encoder followed by the probed network; the features of all other streams and rows are held fixed."""

    probe: Probe
    stream: str
    encoder: EncoderT

    def log_odds(self, rows: Tensor, emotion: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """(Q,) log-odds of each row's emotion, its features encoded from `tensors`; differentiable."""
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            values, _ = self.encoder(tensors)
            return log_odds(self.probe.changed_logits(rows, change=self._replacement(values)), emotion)

    def log_odds_of_features(self, rows: Tensor, emotion: Tensor, values: Tensor) -> Tensor:
        """(Q,) the same from encoded features (Q, S, D), in as many passes as the dialogues' lengths require."""
        logits = [
            self.probe.changed_logits(rows[chunk], change=self._replacement(values[chunk]))
            for chunk in self.probe.chunks(rows)
        ]
        return log_odds(torch.cat(logits), emotion)

    def _replacement(self, values: Tensor) -> Change:
        """The change of the stream's features into `values` (Q, S, D)."""

        def change(stream: str, original: Tensor, queries: Tensor) -> Tensor:
            if stream != self.stream:
                return original
            replaced = values[queries][:, : original.shape[1]].to(original.dtype)
            return functional.pad(replaced, (0, 0, 0, original.shape[1] - replaced.shape[1]))

        return change

    def prepare(self, raw: list) -> dict[str, Tensor]:
        """The encoder's tensors of raw inputs, on the network's device; freezes the encoder and moves it there."""
        device = self.probe.dialogue.device
        self.encoder.to(device).eval().requires_grad_(False)
        return {name: tensor.to(device) for name, tensor in self.encoder.prepare(raw).items()}

"""The network's answer about an utterance as a function of what an encoder is given: words, samples, pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from merc.encoders.encoder import Encoder
from merc.probe import Change, Probe, log_odds


@dataclass(frozen=True)
class Through:
    """One encoder of the network that a probe asks, put in front of it; all other features are held fixed."""

    probe: Probe
    stream: str
    encoder: Encoder

    def log_odds(self, rows: Tensor, emotion: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """(Q,) of each row's emotion, its features being what the encoder makes of `tensors`; differentiable."""
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            values, _ = self.encoder(tensors)
            return log_odds(self.probe.ask(rows, change=self.instead(values)), emotion)

    def worth(self, rows: Tensor, emotion: Tensor, values: Tensor) -> Tensor:
        """(Q,) the same of features (Q, S, D) that the encoder made already, in as many passes as it takes."""
        parts = [self.probe.ask(rows[own], change=self.instead(values[own])) for own in self.probe.chunks(rows)]
        return log_odds(torch.cat(parts), emotion)

    def instead(self, values: Tensor) -> Change:
        """The change of the stream's features into `values` (Q, S, D)."""

        def change(stream: str, before: Tensor, which: Tensor) -> Tensor:
            if stream != self.stream:
                return before
            fresh = values[which][:, : before.shape[1]].to(before.dtype)
            return functional.pad(fresh, (0, 0, 0, before.shape[1] - fresh.shape[1]))

        return change

    def prepare(self, raw: list) -> dict[str, Tensor]:
        """The encoder's tensors of raw inputs, where the network is."""
        where = self.probe.dialogue.device
        self.encoder.to(where).eval().requires_grad_(False)
        return {name: tensor.to(where) for name, tensor in self.encoder.prepare(raw).items()}

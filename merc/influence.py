"""What the utterances of a dialogue do to the emotion of one: integrated gradients over utterance vectors."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merc.integration import Found, Integrated, integrate
from merc.probe import Probe, log_odds

UTTERANCES = "utterances"
AT_ONCE = 600  # utterance vectors in one pass


def influence(probe: Probe, row: int, emotion: int) -> Integrated:
    """One way (1, T): what each turn of the row's dialogue adds to the log-odds of the row's emotion.

    From the vectors of utterances that show nothing to what the fusion made of them; through context and heads.
    What the fusion itself takes from earlier turns (ESAG's belief) is part of those vectors and held fixed.
    """
    return integrate(_Dialogue(probe, row, emotion), 1, probe.dialogue.device)


@dataclass
class _Dialogue:
    probe: Probe
    row: int
    emotion: int
    widths: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        probe, number = self.probe, int(self.probe.dialogue[self.row])
        self.first, self.turns = int(probe.starts[number]), int(probe.lengths[number])
        rows = slice(self.first, self.first + self.turns)
        heard, batch = (probe.hidden, probe.steps, probe.odd), probe.batch
        with torch.no_grad():
            told = probe.network.judge(*heard, batch)
            nothing = probe.network.judge(*heard, batch, torch.zeros_like(batch["present"]))
        self.weights = {name: told["weights"][name][rows] for name in ("belief",) if name in told["weights"]}
        self.nothing = nothing["utterance"][rows]
        self.way = told["utterance"][rows] - self.nothing
        self.place, self.speaker = batch["place"][rows, 1], batch["speaker"][rows]
        self.widths = {UTTERANCES: self.turns}

    def chunks(self, numbers: Tensor) -> Iterator[Tensor]:
        own = torch.arange(len(numbers), device=numbers.device)
        yield from own.split(max(1, AT_ONCE // self.turns))

    def worth(self, numbers: Tensor, at: Tensor) -> Tensor:
        with torch.no_grad():
            return self._worth(self._at(at))

    def gradients(self, numbers: Tensor, at: Tensor) -> Found:
        leaf = self._at(at).requires_grad_()
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            (gradient,) = torch.autograd.grad(self._worth(leaf).sum(), leaf)
        return {UTTERANCES: (torch.arange(len(at), device=at.device), (gradient * self.way).sum(2))}

    def _at(self, at: Tensor) -> Tensor:
        """(Q, T, D)."""
        return self.nothing + at[:, None, None] * self.way

    def _worth(self, vectors: Tensor) -> Tensor:
        copies = len(vectors)
        number = torch.arange(copies, device=vectors.device).repeat_interleave(self.turns)
        batch = {
            "place": torch.stack([number, self.place.repeat(copies)], 1),
            "speaker": self.speaker.repeat(copies),
        }
        weights = {name: own.repeat(copies, 1) for name, own in self.weights.items()}
        logits = self.probe.network.conclude(vectors.flatten(0, 1), weights, batch)["emotion"]
        target = logits.view(copies, self.turns, -1)[:, self.row - self.first]
        return log_odds(target, torch.full((copies,), self.emotion, device=vectors.device))

"""Influence of each utterance of a dialogue on the emotion of one: integrated gradients over utterance vectors."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merc.explanation.counterfactual import Probe, as_classes, log_odds
from merc.explanation.methods.integrated_gradients import IntegratedGradients, StreamAttributions, integrate

UTTERANCE_STREAM = "utterances"  # the only stream: each turn of the dialogue is a step
MAX_VECTORS = 600  # utterance vectors in one pass


def influence(probe: Probe, row: int, emotion: int) -> IntegratedGradients:
    """Attributions (1, T) of each turn of the row's dialogue to the log-odds of the row's emotion.

    The path leads from the fused vectors of utterances without any modality to the actual ones, followed by context
    and heads. What the fusion itself takes from earlier turns (ESAG's belief) is part of those vectors and held
    fixed.
    """
    return integrate(_Dialogue(probe, row, emotion), 1, probe.dialogue.device)


@dataclass
class _Dialogue:
    """The path of one dialogue, in the space of its utterance vectors (T, D)."""

    probe: Probe
    row: int
    emotion: int
    num_steps: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        probe, number = self.probe, int(self.probe.dialogue[self.row])
        self.first_row, self.num_turns = int(probe.starts[number]), int(probe.lengths[number])
        rows = slice(self.first_row, self.first_row + self.num_turns)
        encoded, batch = (probe.hidden, probe.steps, probe.deviation), probe.batch
        with torch.no_grad():
            actual = probe.network.forward_encoded(*encoded, batch)
            absent = probe.network.forward_encoded(*encoded, batch, torch.zeros_like(batch["present"]))
        self.weights = {name: actual["weights"][name][rows] for name in ("belief",) if name in actual["weights"]}
        self.baseline = absent["utterance"][rows]
        self.difference = actual["utterance"][rows] - self.baseline
        self.turn, self.speaker = batch["place"][rows, 1], batch["speaker"][rows]
        self.num_steps = {UTTERANCE_STREAM: self.num_turns}

    def chunks(self, paths: Tensor) -> Iterator[Tensor]:
        positions = torch.arange(len(paths), device=paths.device)
        yield from positions.split(max(1, MAX_VECTORS // self.num_turns))

    def values(self, paths: Tensor, alphas: Tensor) -> Tensor:
        with torch.no_grad():
            return self._log_odds(self._interpolate(alphas))

    def gradients(self, paths: Tensor, alphas: Tensor) -> StreamAttributions:
        leaf = self._interpolate(alphas).requires_grad_()
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            (gradient,) = torch.autograd.grad(self._log_odds(leaf).sum(), leaf)
        positions = torch.arange(len(alphas), device=alphas.device)
        return {UTTERANCE_STREAM: (positions, (gradient * self.difference).sum(2))}

    def _interpolate(self, alphas: Tensor) -> Tensor:
        """(Q, T, D)."""
        return self.baseline + alphas[:, None, None] * self.difference

    def _log_odds(self, vectors: Tensor) -> Tensor:
        """(Q, T, D) -> (Q,); each copy of the dialogue is a dialogue of its own."""
        copies = len(vectors)
        number = torch.arange(copies, device=vectors.device).repeat_interleave(self.num_turns)
        batch = {
            "place": torch.stack([number, self.turn.repeat(copies)], 1),
            "speaker": self.speaker.repeat(copies),
        }
        weights = {name: weight.repeat(copies, 1) for name, weight in self.weights.items()}
        network, task = self.probe.network, self.probe.task
        logits = as_classes(network, task, network.classify(vectors.flatten(0, 1), weights, batch)[task])
        target = logits.view(copies, self.num_turns, -1)[:, self.row - self.first_row]
        return log_odds(target, torch.full((copies,), self.emotion, device=vectors.device))

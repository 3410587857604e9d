"""Words by layer integrated gradients: from the emotion's log-odds back to the language model's embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merc.encoders.raw import Line
from merc.integration import Found, Integrated, integrate
from merc.through import Through

AT_ONCE = 48  # sentences that the language model reads at a time
STEPS = "words"  # the one stream of these ways: the steps that the language model keeps


def read_words(through: Through, rows: Tensor, emotion: Tensor, lines: list[Line]) -> Integrated:
    """Integrated gradients (Q, S) of the rows' steps, through language model, stem, MISLS, fusion and context.

    The way leads from the sentence whose own word pieces are read as padding; special tokens and neighbouring
    utterances in the language model's window stay, and so do the features of all other utterances.
    """
    return integrate(_Sentences(through, rows, emotion, lines), len(rows), rows.device)


@dataclass
class _Sentences:
    """The ways of Q sentences, in the space of the language model's embeddings."""

    through: Through
    rows: Tensor
    emotion: Tensor
    lines: list[Line]
    widths: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.tensors = self.through.prepare(self.lines)
        ids, self.layer = self.tensors["input_ids"], self.through.encoder.model.get_input_embeddings()
        self.widths = {STEPS: self.tensors["kept"].shape[1]}
        with torch.no_grad():
            self.nothing = self.layer(self.through.encoder.unsaid(self.tensors, self.lines))
            self.way = self.layer(ids) - self.nothing

    def chunks(self, numbers: Tensor) -> Iterator[Tensor]:
        yield from torch.arange(len(numbers), device=numbers.device).split(AT_ONCE)

    def worth(self, numbers: Tensor, at: Tensor) -> Tensor:
        with torch.no_grad():
            return self._worth(numbers, self._at(numbers, at))

    def gradients(self, numbers: Tensor, at: Tensor) -> Found:
        leaf = self._at(numbers, at).requires_grad_()
        (gradient,) = torch.autograd.grad(self._worth(numbers, leaf).sum(), leaf)
        tokens = (gradient * self.way[numbers]).sum(2)
        return {STEPS: (torch.arange(len(numbers), device=at.device), self._kept(tokens, numbers))}

    def _kept(self, tokens: Tensor, numbers: Tensor) -> Tensor:
        """(n, L) -> (n, S); what stands beyond a sentence's last step counts for nothing."""
        kept, steps = self.tensors["kept"][numbers], self.tensors["steps"][numbers]
        inside = torch.arange(kept.shape[1], device=kept.device) < steps[:, None]
        return tokens.gather(1, kept) * inside

    def _at(self, numbers: Tensor, at: Tensor) -> Tensor:
        return self.nothing[numbers] + at[:, None, None] * self.way[numbers]

    def _worth(self, numbers: Tensor, embedded: Tensor) -> Tensor:
        tensors = {name: tensor[numbers] for name, tensor in self.tensors.items()}
        with _read_as(self.layer, embedded):
            return self.through.log_odds(self.rows[numbers], self.emotion[numbers], tensors)


@contextmanager
def _read_as(layer: torch.nn.Module, embedded: Tensor) -> Iterator[None]:
    """Token ids are read as these embeddings."""
    handle = layer.register_forward_hook(lambda *_: embedded)
    try:
        yield
    finally:
        handle.remove()

"""Attributions of words by layer integrated gradients with respect to the language model's token embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.text.language_model_encoder import LanguageModelEncoder
from merc.explanation.methods.encoder_probe import EncoderProbe
from merc.explanation.methods.integrated_gradients import IntegratedGradients, StreamAttributions, integrate

BATCH_SIZE = 48  # sentences in one pass of the language model
WORD_STREAM = "words"  # the only stream: the steps that the language model keeps


def word_integrated_gradients(
    encoder_probe: EncoderProbe[LanguageModelEncoder], rows: Tensor, emotion: Tensor, lines: list[TextInput]
) -> IntegratedGradients:
    """Integrated gradients (Q, S) of the rows' steps, through language model, stem, MISLS, fusion and context.

    The baseline is the sentence with its own word pieces replaced by padding; special tokens and neighbouring
    utterances in the language model's window stay, and so do the features of all other utterances.
    """
    return integrate(_Sentences(encoder_probe, rows, emotion, lines), len(rows), rows.device)


@dataclass
class _Sentences:
    """The paths of Q sentences, in the space of the language model's token embeddings."""

    encoder_probe: EncoderProbe[LanguageModelEncoder]
    rows: Tensor
    emotion: Tensor
    lines: list[TextInput]
    num_steps: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.tensors = self.encoder_probe.prepare(self.lines)
        model: Any = self.encoder_probe.encoder.model
        ids, self.layer = self.tensors["input_ids"], model.get_input_embeddings()
        self.num_steps = {WORD_STREAM: self.tensors["kept"].shape[1]}
        with torch.no_grad():
            self.baseline = self.layer(self.encoder_probe.encoder.unsaid(self.tensors, self.lines))
            self.difference = self.layer(ids) - self.baseline

    def chunks(self, paths: Tensor) -> Iterator[Tensor]:
        yield from torch.arange(len(paths), device=paths.device).split(BATCH_SIZE)

    def values(self, paths: Tensor, alphas: Tensor) -> Tensor:
        with torch.no_grad():
            return self._log_odds(paths, self._interpolate(paths, alphas))

    def gradients(self, paths: Tensor, alphas: Tensor) -> StreamAttributions:
        leaf = self._interpolate(paths, alphas).requires_grad_()
        (gradient,) = torch.autograd.grad(self._log_odds(paths, leaf).sum(), leaf)
        tokens = (gradient * self.difference[paths]).sum(2)
        return {WORD_STREAM: (torch.arange(len(paths), device=alphas.device), self._kept_tokens(tokens, paths))}

    def _kept_tokens(self, tokens: Tensor, paths: Tensor) -> Tensor:
        """Scores of all tokens (n, L) -> scores of the kept steps (n, S); 0 beyond a sentence's last step."""
        kept, num_steps = self.tensors["kept"][paths], self.tensors["steps"][paths]
        is_step = torch.arange(kept.shape[1], device=kept.device) < num_steps[:, None]
        return tokens.gather(1, kept) * is_step

    def _interpolate(self, paths: Tensor, alphas: Tensor) -> Tensor:
        """(Q, L, D)."""
        return self.baseline[paths] + alphas[:, None, None] * self.difference[paths]

    def _log_odds(self, paths: Tensor, embeddings: Tensor) -> Tensor:
        tensors = {name: tensor[paths] for name, tensor in self.tensors.items()}
        with _replaced_output(self.layer, embeddings):
            return self.encoder_probe.log_odds(self.rows[paths], self.emotion[paths], tensors)


@contextmanager
def _replaced_output(layer: nn.Module, embeddings: Tensor) -> Iterator[None]:
    """Make the embedding layer return `embeddings`, whatever the token ids."""
    handle = layer.register_forward_hook(lambda *_: embeddings)
    try:
        yield
    finally:
        handle.remove()

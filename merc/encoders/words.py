"""A language model's tokens: the sentence as a whole first (CLS), then each word piece in its context."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from merc.encoders.cleaning import Name, clean
from merc.encoders.encoder import Encoder
from merc.encoders.raw import Line

REMEMBERED = 4096  # lines whose tokens are kept


@dataclass(frozen=True)
class Window:
    """What of a dialogue a language model reads: tokens in all, utterances around, whose they are."""

    max_tokens: int
    clean: tuple[Name, ...]
    before: int
    after: int
    speakers: bool


@dataclass(frozen=True)
class Special:
    """Token ids; None where a model has no such token."""

    first: int | None
    separator: int | None
    padding: int


@dataclass(frozen=True)
class _Tokens:
    ids: list[int]
    kept: list[int]  # positions in ids that are steps
    spans: list[tuple[int, int]]  # of the utterance's characters, one per step


class Words(Encoder):
    """Steps are CLS and the utterance's own word pieces; those of its neighbours are read and left out."""

    unit_names = ("char_start", "char_end")
    step_seconds = None
    halves = True
    differentiable = None
    budget = 512  # tokens; what stays in a core's cache: 2048 take a third longer
    silence = Line("", "")

    def __init__(
        self,
        name: str,
        model: nn.Module,
        dim: int,
        tokenizer: Tokenizer,
        special: Special,
        window: Window,
    ) -> None:
        super().__init__()
        self.name, self.model, self.dim = name, model, dim
        self.tokenizer, self.special, self.window = tokenizer, special, window
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.known: dict[Line, _Tokens] = {}  # size, prepare and units ask for the same lines

    def prepare(self, raw: Sequence[Line]) -> dict[str, Tensor]:
        """input_ids and attention_mask (N, L); kept (N, S): positions of the steps; steps (N,)."""
        tokens = [self._tokens(line) for line in raw]
        kept = [torch.tensor(one.kept) for one in tokens]
        ids = [torch.tensor(one.ids) for one in tokens]
        return {
            "input_ids": nn.utils.rnn.pad_sequence(ids, True, self.special.padding),
            "attention_mask": nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], True),
            "kept": nn.utils.rnn.pad_sequence(kept, True),
            "steps": torch.tensor([len(one) for one in kept]),
        }

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        hidden = self.model(tensors["input_ids"], tensors["attention_mask"]).float()
        kept = tensors["kept"][:, :, None].expand(-1, -1, hidden.shape[2])
        return hidden.gather(1, kept), tensors["steps"]

    def unsaid(self, tensors: dict[str, Tensor], raw: Sequence[Line]) -> Tensor:
        """(N, L) the same input_ids with every piece of the utterance itself read as padding: nothing is said."""
        ids = tensors["input_ids"].clone()
        for row, spans, kept in zip(ids, self.units(raw), tensors["kept"], strict=True):
            said = torch.from_numpy(spans[:, 1] > spans[:, 0]).to(kept.device)
            row[kept[: len(said)][said]] = self.special.padding
        return ids

    def units(self, raw: Sequence[Line]) -> list[np.ndarray]:
        return [np.array(self._tokens(line).spans, np.float32).reshape(-1, 2) for line in raw]

    def size(self, raw: Line) -> int:
        return len(self._tokens(raw).ids)

    def _tokens(self, line: Line) -> _Tokens:
        tokens = self.known.get(line)
        if tokens is None:  # several threads may ask: what another one forgets meanwhile is not looked up again
            tokens = self._tokenise(line)
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            self.known[line] = tokens
        return tokens

    def _tokenise(self, line: Line) -> _Tokens:
        """[CLS] earlier [SEP] utterance [SEP] later [SEP]; the utterance comes first when room is short."""
        own, own_spans = self._pieces(line.text)
        name = self._ids(f"{line.speaker}: ") if self.window.speakers and line.speaker else []
        first = [] if self.special.first is None else [self.special.first]
        separator = [] if self.special.separator is None else [self.special.separator]
        room = self.window.max_tokens - len(first) - len(separator) - len(name)
        ids, spans = own[: max(room, 1)], own_spans[: max(room, 1)]
        before, after = self._around(line, room - len(ids), separator)
        start = len(first) + len(before) + len(name)
        kept = [*range(len(first)), *range(start, start + len(ids))]
        whole = [*first, *before, *name, *ids, *separator, *after]
        return self._something(whole, kept, [*[(0, 0)] * len(first), *spans])

    def _around(self, line: Line, room: int, separator: list[int]) -> tuple[list[int], list[int]]:
        earlier = [token for one in _nearest(line.before, self.window.before) for token in self._said(one)]
        later = [token for one in line.after[: self.window.after] for token in self._said(one)]
        room_before = max(0, room - len(separator))
        before = [*earlier[-room_before:], *separator] if earlier and room_before else []
        room_after = max(0, room - len(before) - len(separator))
        return before, [*later[:room_after], *separator] if later and room_after else []

    def _said(self, line: Line) -> list[int]:
        return self._ids(f"{line.speaker}: {line.text}" if self.window.speakers and line.speaker else line.text)

    def _ids(self, text: str) -> list[int]:
        return self._pieces(text)[0]

    def _pieces(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Of the cleaned text; spans are of the text as it stands in the manifest."""
        cleaned = clean(text, self.window.clean)
        pieces = self.tokenizer.encode(cleaned.text, add_special_tokens=False)
        return pieces.ids, [cleaned.span(*offsets) for offsets in pieces.offsets]

    def _something(self, ids: list[int], kept: list[int], spans: list[tuple[int, int]]) -> _Tokens:
        """An empty text of a model without a first token is one padding token: no utterance is without a step."""
        return _Tokens(ids, kept, spans) if kept else _Tokens([*ids, self.special.padding], [len(ids)], [(0, 0)])


def _nearest(lines: tuple[Line, ...], count: int) -> tuple[Line, ...]:
    return lines[len(lines) - min(count, len(lines)) :]

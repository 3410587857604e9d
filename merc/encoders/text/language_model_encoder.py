"""Text encoder: a language model's hidden states of CLS and of each word piece, with dialogue context."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base.encoder import Encoder
from merc.encoders.text.cleaning import CleanerName, clean_text

TOKEN_CACHE_SIZE = 4096  # maximum number of lines in the token cache


@dataclass(frozen=True)
class ContextWindow:
    """Input window of a language model, from encode.text: length, cleaning, neighbouring lines, speakers."""

    max_tokens: int
    clean: tuple[CleanerName, ...]
    before: int
    after: int
    speakers: bool


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of special tokens; None if a model has no such token."""

    first: int | None
    separator: int | None
    padding: int


@dataclass(frozen=True)
class _Tokens:
    """Tokens of an utterance with its context."""

    ids: list[int]
    kept: list[int]  # positions in `ids` of the steps
    spans: list[tuple[int, int]]  # characters of the utterance, one span per step


class LanguageModelEncoder(Encoder):
    """Steps are CLS and the word pieces of the utterance; context tokens are read, but are no steps."""

    unit_names = ("char_start", "char_end")
    step_seconds = None
    supports_half_precision = True
    layered = True
    differentiable = None
    budget = 512  # tokens; fits the cache of a core: 2048 take a third longer
    silent_input = TextInput("", "")

    def __init__(
        self,
        name: str,
        model: nn.Module,
        dim: int,
        tokenizer: Tokenizer,
        special: SpecialTokens,
        window: ContextWindow,
    ) -> None:
        super().__init__()
        self.name, self.model, self.dim = name, model, dim
        self.tokenizer, self.special, self.window = tokenizer, special, window
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.known: dict[TextInput, _Tokens] = {}  # token cache: size, prepare and units take the same lines

    def prepare(self, raw: Sequence[TextInput]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` (N, L); `kept` (N, S): positions of the steps; `steps` (N,)."""
        tokens = [self._tokens(line) for line in raw]
        kept = [torch.tensor(line.kept) for line in tokens]
        ids = [torch.tensor(line.ids) for line in tokens]
        return {
            "input_ids": nn.utils.rnn.pad_sequence(ids, True, self.special.padding),
            "attention_mask": nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], True),
            "kept": nn.utils.rnn.pad_sequence(kept, True),
            "steps": torch.tensor([len(row) for row in kept]),
        }

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        hidden = self.model(tensors["input_ids"], tensors["attention_mask"]).float()
        kept = tensors["kept"][:, :, None].expand(-1, -1, hidden.shape[2])
        return hidden.gather(1, kept), tensors["steps"]

    def unsaid(self, tensors: dict[str, Tensor], raw: Sequence[TextInput]) -> Tensor:
        """`input_ids` (N, L) with the word pieces of the utterance replaced by padding: an empty utterance."""
        ids = tensors["input_ids"].clone()
        for row, spans, kept in zip(ids, self.units(raw), tensors["kept"], strict=True):
            has_characters = torch.from_numpy(spans[:, 1] > spans[:, 0]).to(kept.device)
            row[kept[: len(has_characters)][has_characters]] = self.special.padding
        return ids

    def units(self, raw: Sequence[TextInput]) -> list[np.ndarray]:
        return [np.array(self._tokens(line).spans, np.float32).reshape(-1, 2) for line in raw]

    def size(self, raw: TextInput) -> int:
        return len(self._tokens(raw).ids)

    def _tokens(self, line: TextInput) -> _Tokens:
        tokens = self.known.get(line)
        if tokens is None:  # other threads may clear the cache in between: do not look the line up again
            tokens = self._tokenise(line)
            if len(self.known) >= TOKEN_CACHE_SIZE:
                self.known.clear()
            self.known[line] = tokens
        return tokens

    def _tokenise(self, line: TextInput) -> _Tokens:
        """[CLS] earlier [SEP] utterance [SEP] later [SEP]; the utterance takes precedence within max_tokens."""
        pieces, piece_spans = self._pieces(line.text)
        name = self._ids(f"{line.speaker}: ") if self.window.speakers and line.speaker else []
        first = [] if self.special.first is None else [self.special.first]
        separator = [] if self.special.separator is None else [self.special.separator]
        room = self.window.max_tokens - len(first) - len(separator) - len(name)
        ids, spans = pieces[: max(room, 1)], piece_spans[: max(room, 1)]
        before, after = self._context(line, room - len(ids), separator)
        start = len(first) + len(before) + len(name)
        kept = [*range(len(first)), *range(start, start + len(ids))]
        sequence = [*first, *before, *name, *ids, *separator, *after]
        return self._not_empty(sequence, kept, [*[(0, 0)] * len(first), *spans])

    def _context(self, line: TextInput, room: int, separator: list[int]) -> tuple[list[int], list[int]]:
        """Tokens of the earlier and of the later utterances, at most `room`; the earlier ones take precedence."""
        neighbours = _nearest(line.before, self.window.before)
        earlier = [token for neighbour in neighbours for token in self._with_speaker(neighbour)]
        later = [token for neighbour in line.after[: self.window.after] for token in self._with_speaker(neighbour)]
        room_before = max(0, room - len(separator))
        before = [*earlier[-room_before:], *separator] if earlier and room_before else []
        room_after = max(0, room - len(before) - len(separator))
        return before, [*later[:room_after], *separator] if later and room_after else []

    def _with_speaker(self, line: TextInput) -> list[int]:
        """Tokens of a line, after the name of its speaker if `speakers` is on."""
        return self._ids(f"{line.speaker}: {line.text}" if self.window.speakers and line.speaker else line.text)

    def _ids(self, text: str) -> list[int]:
        return self._pieces(text)[0]

    def _pieces(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Word pieces of the cleaned text; spans refer to the text of the manifest."""
        cleaned = clean_text(text, self.window.clean)
        pieces = self.tokenizer.encode(cleaned.text, add_special_tokens=False)
        return pieces.ids, [cleaned.span(*offsets) for offsets in pieces.offsets]

    def _not_empty(self, ids: list[int], kept: list[int], spans: list[tuple[int, int]]) -> _Tokens:
        """Add a padding token as the step of an empty text of a model without a first token."""
        return _Tokens(ids, kept, spans) if kept else _Tokens([*ids, self.special.padding], [len(ids)], [(0, 0)])


def _nearest(lines: tuple[TextInput, ...], count: int) -> tuple[TextInput, ...]:
    """The last `count` lines."""
    return lines[len(lines) - min(count, len(lines)) :]

"""Which words the whole model rests on, language model included: every word in turn is left unread by it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merc import encoders
from merc import manifest as manifests
from merc.attribution import Case
from merc.batches import Split
from merc.encoders import tuned
from merc.encoders.raw import Line
from merc.encoders.words import Words
from merc.probe import Change, log_odds


@dataclass(frozen=True)
class Reading:
    """A language model and what it reads of each row of the split; None where another one, or none, does."""

    encoder: Words
    lines: list[Line | None]
    known: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def without(self, words: list[tuple[int, int]], hit: Tensor) -> Tensor:
        """(W, S, D) what the model makes of lines one of whose words it cannot see.

        A word is the split's row and the utterance's part, its steps are `hit` (W, S). No network has a say in
        this: it is read once for all of them.
        """
        new = [place for place, word in enumerate(words) if word not in self.known]
        if new:
            read = _without(self.encoder, [self.lines[words[place][0]] for place in new], hit[new])
            self.known.update((words[place], own) for place, own in zip(new, read, strict=True))
        return nn.utils.rnn.pad_sequence([self.known[word] for word in words], batch_first=True)


def read(name: str, corpora: list[str], split: Split) -> dict[str, Reading]:
    """By stream, the language models behind the text of the split called `name`."""
    readings: dict[str, Reading] = {}
    config = encoders.section("text")
    for corpus in corpora:
        encoder = encoders.chosen(config, corpus)
        if f"text/{encoder}" in split.features:
            own = readings.setdefault(f"text/{encoder}", Reading(_built(encoder, config), [None] * len(split)))
            rows = np.flatnonzero(split.manifest["corpus"] == corpus)
            manifest = split.manifest.iloc[rows].reset_index(drop=True)
            lines = encoders.module("text").reader(config)(manifests.folder(name, corpus), manifest)
            for row, line in zip(rows, lines, strict=True):
                own.lines[row] = line
    return {stream: own for stream, own in readings.items() if isinstance(own.encoder, Words)}


def unread(
    case: Case, readings: dict[str, Reading], index: np.ndarray, asked: np.ndarray | None = None
) -> np.ndarray:
    """(N, P) how much the log-odds fall when one word alone is left unread; NaN for everything that is no word.

    No token attends to the word, and the word's own steps are the blank's. `index` (N,): the split's rows; of
    those `asked` about (N,) bool, if not of all.
    """
    scores = torch.full((len(case.probe), int(case.parts.counts.max())), torch.nan, device=case.emotion.device)
    before = log_odds(case.probe.logits(case.probe.rows), case.emotion)
    for stream, reading in readings.items():
        rows, parts = _words(case, stream, asked)
        for own in case.probe.chunks(rows):
            hit = case.owner[stream][rows[own]] == parts[own, None]
            words = list(zip(index[rows[own].cpu().numpy()].tolist(), parts[own].tolist(), strict=True))
            change = _change(case, stream, rows[own], hit, reading.without(words, hit))
            with torch.no_grad():
                after = log_odds(case.probe.ask(rows[own], change=change), case.emotion[rows[own]])
            scores[rows[own], parts[own]] = before[rows[own]] - after
    return scores.cpu().double().numpy()


def _built(name: str, config: Any) -> Any:
    return encoders.build("text", name, config, weights=tuned.folder("text", name))


def _words(case: Case, stream: str, asked: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """(W,) rows and parts of the words that this stream is about."""
    if stream not in case.owner:
        return case.probe.rows[:0], case.probe.rows[:0]
    table, here = case.parts.table, (case.parts.owner[stream] >= 0).any(1)
    here = here if asked is None else here & asked
    words = table[(table["modality"] == "text") & (table["word"] != "") & here[table["row"]]]
    rows, parts = (torch.tensor(words[name].to_numpy()).to(case.emotion.device) for name in ("row", "part"))
    return rows, parts


@torch.no_grad()
def _without(encoder: Words, lines: list[Line], hit: Tensor) -> Tensor:
    """(W, S, D) the lines as the language model reads them when it sees no token of the steps `hit` (W, S)."""
    tensors = {name: tensor.to(hit.device) for name, tensor in encoder.to(hit.device).prepare(lines).items()}
    kept = tensors["kept"]
    row, step = hit[:, : kept.shape[1]].nonzero().unbind(1)
    tensors["attention_mask"][row, kept[row, step]] = 0
    return encoder(tensors)[0]


def _change(case: Case, stream: str, rows: Tensor, hit: Tensor, read: Tensor) -> Change:
    def change(name: str, values: Tensor, which: Tensor) -> Tensor:
        if name != stream:
            return values
        fresh, told = values.clone(), read[which][:, : values.shape[1]]
        fresh[:, : told.shape[1]] = told
        return torch.where(hit[which][:, : values.shape[1], None], case.blank(name, values, rows[which]), fresh)

    return change

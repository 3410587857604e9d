"""Asking a network about one utterance at a time: what would it answer if this one's features were others?"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from merc.data.records.stream_name import StreamName

ROWS = 600  # utterances that one pass of the network sees at most, unless a dialogue is longer

# stream, its values (n, S, D), which of the questions they belong to (n,) -> other values of the same shape
Change = Callable[[str, Tensor, Tensor], Tensor]
# of one modality of the rows asked about: the stems' answers (Q, S, D), and how odd its features are (Q,)
Heard = tuple[Tensor, Tensor]


class Probe:
    """A network and a batch of whole dialogues, about whose utterances it is asked.

    A question is about one row; the dialogue is repeated for it, and only the row asked about is changed. What the
    stems and MISLS make of all others is computed once.
    """

    def __init__(self, network: Any, batch: dict):
        self.network, self.batch = network.eval().requires_grad_(False), batch
        with torch.no_grad():
            self.hidden, self.steps, self.odd = network.tokens(batch)
            self.here = batch["present"] & self._heard(self.steps)
            self.latent, self.lengths_of = network.misls(self.hidden, self.steps, self.here)
        rows = len(batch["present"])
        self.entries = {stream: _inverse(own, rows) for stream, own in batch["rows"].items()}
        self.dialogue = batch["place"][:, 0]
        self.lengths = torch.bincount(self.dialogue)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def __len__(self) -> int:
        return len(self.dialogue)

    @property
    def rows(self) -> Tensor:
        """(N,) every row once."""
        return torch.arange(len(self), device=self.dialogue.device)

    def chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """The numbers of the questions about `rows` (Q,), as many at a time as one pass should see."""
        pass_ = (self.lengths[self.dialogue[rows]].cumsum(0) - 1) // ROWS
        yield from torch.arange(len(rows), device=rows.device).split(
            torch.unique(pass_, return_counts=True)[1].tolist()
        )

    def logits(self, rows: Tensor, present: Tensor | None = None) -> Tensor:
        """(Q, C) emotion logits of the rows, each seen with the modalities (Q, M) that `present` leaves it."""
        with torch.no_grad():
            parts = [self.ask(rows[own], None if present is None else present[own]) for own in self.chunks(rows)]
        return self._joined(parts)

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """Nobody asks about parts of utterances that have none: then there is no answer, of the same width."""
        classes = len(self.network.labels["emotion"])
        return torch.cat(parts) if parts else torch.zeros(0, classes, device=self.dialogue.device)

    def ask(self, rows: Tensor, present: Tensor | None = None, change: Change | None = None) -> Tensor:
        """(Q, C) emotion logits of the rows, in one pass; gradients reach what `change` returns."""
        return self.answer(rows, present, change)["emotion"]

    def answer(
        self, rows: Tensor, present: Tensor | None = None, change: Change | None = None
    ) -> dict[str, Tensor]:
        """Every task's logits of the rows, and the fusion's gates if it has any."""
        return self.judge(rows, {} if change is None else self.heard(rows, change), present)

    def judge(self, rows: Tensor, fresh: dict[str, Heard], present: Tensor | None = None) -> dict[str, Tensor]:
        """The same, of what the stems make of the rows asked about, by modality that is `fresh`."""
        index, question, target = self._copies(rows)
        place = torch.stack([question, self.batch["place"][index, 1]], 1)
        batch = {"place": place, "speaker": self.batch["speaker"][index]}
        found = self.network.unite(*self._latent(rows, index, target, present, fresh), batch)
        answers = {task: found[task][target] for task in self.network.labels if task in found}
        return answers | {name: found["weights"][name][target] for name in ("gate",) if name in found["weights"]}

    def _latent(
        self, rows: Tensor, index: Tensor, target: Tensor, present: Tensor | None, heard: dict[str, Heard]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor]:
        """What MISLS makes of the rows `index`, those asked about (`target` among them) seen anew."""
        hidden, steps = ({m: own[rows] for m, own in one.items()} for one in (self.hidden, self.steps))
        hidden |= {m: fresh for m, (fresh, _) in heard.items()}
        columns = enumerate(self.network.modalities)
        odd = torch.stack([heard[m][1] if m in heard else self.odd[rows, column] for column, m in columns], 1)
        here = self.here[rows] if present is None else self.here[rows] & present
        fresh, lengths = self.network.misls(hidden, steps, here)
        latent = {m: own[index].index_copy(0, target, fresh[m]) for m, own in self.latent.items()}
        counted = {m: own[index].index_copy(0, target, lengths[m]) for m, own in self.lengths_of.items()}
        here, odd = (all_[index].index_copy(0, target, own) for all_, own in ((self.here, here), (self.odd, odd)))
        return latent, counted, here, odd

    def _heard(self, steps: dict[str, Tensor]) -> Tensor:
        """(N, M): which modalities have a step at all."""
        return torch.stack([steps[m] > 0 for m in self.network.modalities], 1)

    def _copies(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of each question's dialogue, end to end; the questions' numbers; where the rows asked about are."""
        dialogue = self.dialogue[rows]
        lengths = self.lengths[dialogue]
        question = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)
        before = lengths.cumsum(0) - lengths
        turn = torch.arange(len(question), device=rows.device) - before[question]
        return self.starts[dialogue][question] + turn, question, before + rows - self.starts[dialogue]

    def heard(self, rows: Tensor, change: Change) -> dict[str, Heard]:
        """What the stems make of the changed rows, by modality that the change does not leave as it is."""
        batch, touched = {"values": {}, "rows": {}, "steps": {}, "present": self.batch["present"][rows]}, set()
        for stream, entries in self.entries.items():
            which = (entries[rows] >= 0).nonzero().squeeze(1)
            own = entries[rows][which]
            if len(own):
                before = self.batch["values"][stream][own]
                batch["values"][stream] = values = change(stream, before, which)
                batch["rows"][stream], batch["steps"][stream] = which, self.batch["steps"][stream][own]
                touched |= {StreamName.parse(stream).modality} if values is not before else set()
        batch["values"] = {s: one for s, one in batch["values"].items() if StreamName.parse(s).modality in touched}
        fresh, _, odd = self.network.tokens(batch)
        # of two streams the wider may not be asked about
        wide = {
            m: functional.pad(fresh[m], (0, 0, 0, self.hidden[m].shape[1] - fresh[m].shape[1])) for m in touched
        }
        return {m: (one, odd[:, self.network.modalities.index(m)]) for m, one in wide.items()}


def log_odds(logits: Tensor, emotion: Tensor) -> Tensor:
    """(Q,) log p / (1 - p) of one emotion each: what is explained. Unlike p it does not saturate."""
    others = logits.scatter(1, emotion[:, None], -torch.inf)
    return logits.gather(1, emotion[:, None]).squeeze(1) - others.logsumexp(1)


def probability(logits: Tensor, emotion: Tensor) -> Tensor:
    """(Q,) float64 of one emotion each, on the CPU: a Mac's GPU has no float64."""
    return logits.cpu().double().softmax(1).gather(1, emotion.cpu()[:, None]).squeeze(1)


def _inverse(rows: Tensor, size: int) -> Tensor:
    """(size,) the entry that belongs to each row, -1 where none does."""
    return torch.full((size,), -1, device=rows.device).index_copy(
        0, rows, torch.arange(len(rows), device=rows.device)
    )

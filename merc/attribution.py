"""Which parts of an utterance its predicted emotion rests on: integrated gradients, and leaving parts out."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from merc.integration import ROUNDS, Found, integrate
from merc.parts import Parts
from merc.probe import Change, Heard, Probe, log_odds


@dataclass(frozen=True)
class Case:
    """What is explained: each row's emotion, by a network that sees it in its dialogue."""

    probe: Probe
    emotion: Tensor  # (N,) long
    blanks: dict[str, Tensor]  # by stream: (steps, D), the encoder's answer to nothing
    parts: Parts
    owner: dict[str, Tensor]  # by stream: parts.owner as tensors

    def blank(self, stream: str, values: Tensor, rows: Tensor) -> Tensor:
        """The stream's blank stretched over the steps of the rows, in the shape of their values (n, S, D)."""
        blank, steps = self.blanks[stream], (self.owner[stream][rows] >= 0).sum(1).clamp(min=1)
        place = torch.arange(values.shape[1], device=values.device) * len(blank) // steps[:, None]
        return blank[place.clamp(max=len(blank) - 1)]

    def without(self, rows: Tensor, gone: Tensor) -> Tensor:
        """(Q, C) emotion logits of the rows with the parts `gone` (Q, P) replaced by the encoder's blank."""
        return self.answers(rows, gone)["emotion"]

    def answers(self, rows: Tensor, gone: Tensor) -> dict[str, Tensor]:
        """The same of every task."""
        told = []
        for own in self.probe.chunks(rows):
            with torch.no_grad():
                told.append(self.probe.judge(rows[own], self._heard(rows[own], gone[own])))
        if not told:  # nobody asks about parts of utterances that have none
            return {task: torch.zeros(0, len(names), device=rows.device) for task, names in self._labels.items()}
        return {name: torch.cat([one[name] for one in told]) for name in told[0]}

    @property
    def _labels(self) -> dict[str, tuple[str, ...]]:
        return self.probe.network.labels

    def _heard(self, rows: Tensor, gone: Tensor) -> dict[str, Heard]:
        """What the stems make of the rows without the parts; what is asked of one modality alike is heard once."""
        heard = {}
        for modality, owned in self.owned.items():
            asked = torch.cat([rows[:, None], gone & owned[rows]], 1)
            variants, place = torch.unique(asked, dim=0, return_inverse=True)
            change = self._blanked(modality, variants[:, 0], variants[:, 1:].bool())
            own = self.probe.heard(variants[:, 0], change)
            heard |= {name: (fresh[place], odd[place]) for name, (fresh, odd) in own.items()}
        return heard

    @cached_property
    def owned(self) -> dict[str, Tensor]:
        """By modality (N, P): which of an utterance's parts are its."""
        owned = {}
        for stream, owner in self.owner.items():
            mine = torch.zeros(len(owner), int(self.parts.counts.max()) + 1, dtype=torch.bool, device=owner.device)
            mine = mine.scatter(1, owner + 1, True)[:, 1:]  # padding is -1
            modality = stream.split("/")[0]
            owned[modality] = owned[modality] | mine if modality in owned else mine
        return owned

    def _blanked(self, modality: str, rows: Tensor, gone: Tensor) -> Change:
        """The change that makes the parts `gone` (Q, P) of the rows blank, in one modality."""

        def change(stream: str, values: Tensor, which: Tensor) -> Tensor:
            if stream not in self.owner or stream.split("/")[0] != modality:
                return values
            owner = self.owner[stream][rows[which]][:, : values.shape[1]]
            hit = gone[which].gather(1, owner.clamp(min=0)) & (owner >= 0)
            return torch.where(hit[:, :, None], self.blank(stream, values, rows[which]), values)

        return change


def occlusion(case: Case) -> np.ndarray:
    """(N, P) how much the log-odds fall when one part alone is blank; NaN beyond an utterance's parts."""
    rows = torch.from_numpy(np.repeat(np.arange(len(case.probe)), case.parts.counts)).to(case.emotion.device)
    part = torch.from_numpy(np.concatenate([np.arange(count) for count in case.parts.counts])).to(rows.device)
    width = int(case.parts.counts.max())
    gone = torch.arange(width, device=rows.device) == part[:, None]
    before = log_odds(case.probe.logits(case.probe.rows), case.emotion)
    fall = before[rows] - log_odds(case.without(rows, gone), case.emotion[rows])
    scores = torch.full((len(case.probe), width), torch.nan, device=rows.device)
    return scores.index_put((rows, part), fall).cpu().double().numpy()


@dataclass(frozen=True)
class Gradients:
    """Integrated gradients of every step of N utterances; those that were not asked about have none."""

    steps: dict[str, np.ndarray]  # by stream: (N, S)
    explained: np.ndarray  # (N,) log-odds minus those of the utterance with every part blank
    gap: np.ndarray  # (N,) what the attributions miss of it

    def of_parts(self, parts: Parts) -> np.ndarray:
        """(N, P) summed over each part's steps; NaN beyond an utterance's parts."""
        scores = np.zeros((len(parts.counts), int(parts.counts.max())))
        for stream, own in self.steps.items():
            row, step = np.nonzero(parts.owner[stream] >= 0)
            np.add.at(scores, (row, parts.owner[stream][row, step]), own[row, step])
        scores[np.arange(scores.shape[1]) >= parts.counts[:, None]] = np.nan
        return scores


def integrated_gradients(case: Case, rows: Tensor | None = None, rounds: int = ROUNDS) -> Gradients:
    """Of the rows (all, if none are named): from the blank to the utterance, over all of its streams at once."""
    rows = case.probe.rows if rows is None else rows
    found = integrate(_Utterances(case, rows), len(rows), rows.device, rounds)

    def spread(own: Tensor) -> np.ndarray:
        return (
            torch.zeros(len(case.probe), *own.shape[1:])
            .index_copy(0, rows.cpu(), own.cpu().float())
            .double()
            .numpy()
        )

    steps = {stream: spread(own) for stream, own in found.steps.items()}
    return Gradients(steps, spread(found.explained), spread(found.gap))


@dataclass(frozen=True)
class _Utterances:
    """The ways of some rows of a case, in the space of their features."""

    case: Case
    rows: Tensor

    @property
    def widths(self) -> dict[str, int]:
        values = self.case.probe.batch["values"]
        return {stream: values[stream].shape[1] for stream in self.case.owner}

    def chunks(self, numbers: Tensor) -> Iterator[Tensor]:
        yield from self.case.probe.chunks(self.rows[numbers])

    def worth(self, numbers: Tensor, at: Tensor) -> Tensor:
        with torch.no_grad():
            return self._worth(numbers, at, {})

    def gradients(self, numbers: Tensor, at: Tensor) -> Found:
        leaves: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            worth = self._worth(numbers, at, leaves)
            if not leaves:
                return {}
            gradients = torch.autograd.grad(
                worth.sum(), [leaf for _, leaf, _ in leaves.values()], allow_unused=True
            )
        return {
            stream: (
                which,
                way.new_zeros(way.shape[:2]) if gradient is None else (gradient.nan_to_num() * way).sum(2),
            )
            for (stream, (which, _, way)), gradient in zip(leaves.items(), gradients, strict=True)
        }

    def _worth(self, numbers: Tensor, at: Tensor, leaves: dict[str, tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        rows = self.rows[numbers]
        logits = self.case.probe.ask(rows, change=_along(self.case, rows, at, leaves))
        return log_odds(logits, self.case.emotion[rows])


def _along(case: Case, rows: Tensor, at: Tensor, leaves: dict[str, tuple[Tensor, Tensor, Tensor]]) -> Change:
    """To a point of the way; `leaves` keeps what gradients are asked of, and where it goes, by stream."""

    def change(stream: str, values: Tensor, which: Tensor) -> Tensor:
        if stream not in case.owner:
            return values
        # where an encoder gave no number there is no way to go
        way = (values - case.blank(stream, values, rows[which])).nan_to_num()
        leaf = (values - (1 - at[which])[:, None, None] * way).requires_grad_()
        leaves[stream] = (which, leaf, way)
        return leaf

    return change

"""Which parts of an utterance its predicted emotion rests on: integrated gradients, and leaving parts out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from merc.parts import Parts
from merc.probe import Change, Probe, log_odds

GAP_SHARE, GAP = 0.01, 1e-3  # the gap allowed: relative to what is explained, or absolute if that is larger
HALVINGS = range(3, 9)  # how often the way is halved: everywhere at least, and at most
PER_PIECE = 0.125  # of the gap allowed, what one piece of the way may miss


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
        """(Q, C) logits of the rows with the parts `gone` (Q, P) replaced by the encoder's blank."""
        return self.probe.changed(rows, lambda own: self._blanked(rows[own], gone[own]))

    def _blanked(self, rows: Tensor, gone: Tensor) -> Change:
        def change(stream: str, values: Tensor, which: Tensor) -> Tensor:
            if stream not in self.owner:
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
    return scores.index_put((rows, part), fall).double().cpu().numpy()


@dataclass(frozen=True)
class Gradients:
    """Integrated gradients of every step of N utterances."""

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


@dataclass(frozen=True)
class _Pieces:
    """Pieces of the rows' ways from the blank (0) to the utterance (1), and the log-odds at both their ends."""

    rows: Tensor
    first: Tensor
    last: Tensor
    before: Tensor
    after: Tensor

    @property
    def middle(self) -> Tensor:
        return (self.first + self.last) / 2

    def halves(self, worth: Tensor, kept: Tensor) -> "_Pieces":
        """Both halves of the pieces that are kept, given the log-odds in their middles."""
        ahead = _Pieces(self.rows, self.first, self.middle, self.before, worth)
        back = _Pieces(self.rows, self.middle, self.last, worth, self.after)
        return _Pieces(
            *(torch.cat([getattr(one, name)[kept] for one in (ahead, back)]) for name in self.__dataclass_fields__)
        )


def integrated_gradients(case: Case) -> Gradients:
    """(x - x') times the mean gradient on the straight way from the blank x' to the utterance x.

    Sundararajan et al. 2017, over all streams of the utterance at once. Midpoint rule; a piece of the way is halved
    until it explains the difference between its ends: kinks (ReLU, max) get many points, smooth stretches few.
    """
    everything = torch.ones(len(case.probe), int(case.parts.counts.max()), dtype=torch.bool)
    blank = log_odds(case.without(case.probe.rows, everything.to(case.emotion.device)), case.emotion)
    whole = log_odds(case.probe.logits(case.probe.rows), case.emotion)
    allowed = (GAP_SHARE * (whole - blank).abs()).clamp(min=GAP) * PER_PIECE
    steps = {stream: torch.zeros(own.shape, device=own.device) for stream, own in case.owner.items()}
    pieces = _Pieces(case.probe.rows, torch.zeros_like(blank), torch.ones_like(blank), blank, whole)
    for halving in range(HALVINGS.stop):
        if halving < HALVINGS.start:
            everywhere = torch.ones_like(pieces.rows, dtype=torch.bool)
            pieces = pieces.halves(_worth(case, pieces.rows, pieces.middle), everywhere)
        else:
            last = halving == HALVINGS[-1]
            pieces = _round(case, pieces, steps, torch.full_like(allowed, torch.inf) if last else allowed)
    explained = (whole - blank).double()
    gap = explained - sum(own.double().sum(1) for own in steps.values())
    numbers = {stream: own.double().cpu().numpy() for stream, own in steps.items()}
    return Gradients(numbers, explained.cpu().numpy(), gap.cpu().numpy())


def _round(case: Case, pieces: _Pieces, steps: dict[str, Tensor], limit: Tensor) -> _Pieces:
    """Add what the pieces that miss no more than `limit` (N,) explain to `steps`; halve the others."""
    worth, open_ = torch.zeros_like(pieces.before), torch.ones_like(pieces.rows, dtype=torch.bool)
    for own in case.probe.chunks(pieces.rows):
        rows, length = pieces.rows[own], (pieces.last - pieces.first)[own]
        worth[own], found = _gradients(case, rows, pieces.middle[own])
        total = torch.zeros_like(length)
        for which, scores in found.values():
            total.index_add_(0, which, scores.sum(1))
        missed = (pieces.after - pieces.before)[own] - length * total
        open_[own] = missed.abs() > limit[rows]
        for stream, (which, scores) in found.items():
            share = (length * ~open_[own])[which]
            steps[stream].index_add_(0, rows[which], scores * share[:, None])
    return pieces.halves(worth, open_)


def _worth(case: Case, rows: Tensor, at: Tensor) -> Tensor:
    """The log-odds (Q,) at a point of each row's way."""
    logits = case.probe.changed(rows, lambda own: _along(case, rows[own], at[own], {}))
    return log_odds(logits, case.emotion[rows])


def _gradients(case: Case, rows: Tensor, at: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """The same; and by stream the questions that have it and their gradients times their ways (n, S)."""
    leaves: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
        worth = log_odds(case.probe.ask(rows, change=_along(case, rows, at, leaves)), case.emotion[rows])
        gradients = torch.autograd.grad(worth.sum(), [leaf for _, leaf, _ in leaves.values()]) if leaves else ()
    found = {
        stream: (which, (gradient.nan_to_num() * way).sum(2))
        for (stream, (which, _, way)), gradient in zip(leaves.items(), gradients, strict=True)
    }
    return worth.detach(), found


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

"""Integrated gradients along a straight way, with points where they are needed.

Sundararajan et al. 2017: (x - x') times the mean gradient from x' to x. Networks have kinks (ReLU, max), so that a
fixed grid, captum's say, leaves a gap of per cents even with hundreds of points. Here the way is cut into pieces,
and a piece that fails to explain the difference between its ends is halved.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

GAP_SHARE, GAP = 0.01, 1e-3  # the gap allowed: relative to what is explained, or absolute if that is larger
PIECES = 8  # of every way, at first
NODES = (0.2113248654, 0.7886751346)  # of a piece: Gauss-Legendre with two points, equal weights
ROUNDS = 14  # how often a piece may be looked at: the smallest is 2^-15 of the way
# of the gap allowed, what one piece may miss unless the whole way's gap is small enough (0.15 asks a quarter more)
PER_PIECE = 0.25

Found = dict[str, tuple[Tensor, Tensor]]


class Way(Protocol):
    """N ways, each from nothing (0) to an utterance (1), and what the network says on them."""

    widths: dict[str, int]  # steps of each stream

    def chunks(self, numbers: Tensor) -> Iterator[Tensor]:
        """Positions in `numbers` (Q,), as many at a time as one pass should see."""

    def worth(self, numbers: Tensor, at: Tensor) -> Tensor:
        """(Q,) what is explained, at points of the ways `numbers`, in one pass without gradients."""

    def gradients(self, numbers: Tensor, at: Tensor) -> Found:
        """By stream: positions in `numbers` (n,) that have it; gradient times way of each step (n, S)."""


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of every step of N utterances."""

    steps: dict[str, Tensor]  # by stream: (N, S)
    explained: Tensor  # (N,) what the whole way changes
    # (N,) float64, on the CPU (a Mac's GPU has none): what the steps together miss of it, which is captum's
    # convergence delta with the sign turned
    gap: Tensor

    @property
    def converged(self) -> Tensor:
        """(N,) bool."""
        return self.gap.abs() <= allowed(self.explained).cpu()


def allowed(explained: Tensor) -> Tensor:
    """The gap that integrated gradients may leave."""
    return (GAP_SHARE * explained.abs()).clamp(min=GAP)


@dataclass(frozen=True)
class _Pieces:
    """Pieces of ways, and what the network says at both their ends."""

    number: Tensor
    first: Tensor
    last: Tensor
    before: Tensor
    after: Tensor

    def __getitem__(self, which: Tensor) -> "_Pieces":
        return _Pieces(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def integrate(way: Way, count: int, device: torch.device, rounds: int = ROUNDS) -> Integrated:
    """The integrated gradients of `count` ways; in fewer rounds they are found sooner and less exactly."""
    pieces, explained = _start(way, torch.arange(count, device=device))
    steps = {stream: torch.zeros(count, width, device=device) for stream, width in way.widths.items()}
    missed = torch.zeros_like(explained)  # by pieces that are done with
    for round_ in range(rounds):
        found = _over(way, pieces)
        total = torch.zeros_like(pieces.first)
        for which, scores in found.values():
            total.index_add_(0, which, scores.sum(1))
        gap = pieces.after - pieces.before - total
        done = _done(pieces.number, gap, missed, allowed(explained)) | (round_ == rounds - 1)
        for stream, (which, scores) in found.items():
            steps[stream].index_add_(0, pieces.number[which], scores * done[which, None])
        missed.index_add_(0, pieces.number, gap * done)
        if done.all():
            break
        pieces = _halves(way, pieces[~done])
    gap = explained.cpu().double() - sum(own.cpu().double().sum(1) for own in steps.values())
    return Integrated(steps, explained, gap)


def _start(way: Way, numbers: Tensor) -> tuple[_Pieces, Tensor]:
    at = torch.linspace(0, 1, PIECES + 1, device=numbers.device).repeat(len(numbers))
    worth = _worth(way, numbers.repeat_interleave(PIECES + 1), at).view(len(numbers), PIECES + 1)
    ends, number = at.view_as(worth), numbers.repeat_interleave(PIECES)
    cut = [one.flatten() for one in (ends[:, :-1], ends[:, 1:], worth[:, :-1], worth[:, 1:])]
    return _Pieces(number, *cut), worth[:, -1] - worth[:, 0]


def _halves(way: Way, pieces: _Pieces) -> _Pieces:
    middle = (pieces.first + pieces.last) / 2
    worth = _worth(way, pieces.number, middle)
    ahead = (pieces.number, pieces.first, middle, pieces.before, worth)
    back = (pieces.number, middle, pieces.last, worth, pieces.after)
    return _Pieces(*map(torch.cat, zip(ahead, back, strict=True)))


def _worth(way: Way, numbers: Tensor, at: Tensor) -> Tensor:
    worth = torch.zeros_like(at)
    for own in way.chunks(numbers):
        worth[own] = way.worth(numbers[own], at[own])
    return worth


def _over(way: Way, pieces: _Pieces) -> Found:
    """What each piece explains, step by step: positions in `pieces`, and scores."""
    length, found = pieces.last - pieces.first, {}
    at = torch.cat([pieces.first + node * length for node in NODES])
    piece = torch.arange(len(length), device=length.device).repeat(len(NODES))
    for own in way.chunks(pieces.number[piece]):
        for stream, (which, scores) in way.gradients(pieces.number[piece[own]], at[own]).items():
            asked = piece[own[which]]
            found.setdefault(stream, []).append((asked, scores * (length[asked] / len(NODES))[:, None]))
    return {stream: tuple(map(torch.cat, zip(*parts, strict=True))) for stream, parts in found.items()}


def _done(number: Tensor, gap: Tensor, missed: Tensor, limit: Tensor) -> Tensor:
    """Which pieces need not be halved: all of a way that misses little as a whole; else those that miss little,
    unless what they miss adds up."""
    small, most = gap.abs() <= PER_PIECE * limit[number], 0.9 * limit
    whole, kept = (missed.index_add(0, number, own).abs() <= most for own in (gap, gap * small))
    return whole[number] | (small & kept[number])

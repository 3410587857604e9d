"""Integrated gradients along straight paths, with adaptive quadrature.

Sundararajan et al. 2017: (x - x') times the mean gradient from x' to x. Networks have kinks (ReLU, max), so that a
fixed grid, as in captum, leaves a gap of some per cent even with hundreds of points. Here each path is divided into
intervals, and an interval whose attributions do not sum to the difference between its ends is bisected.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

# tolerance: relative to the explained difference, or absolute where that is larger
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = (0.01, 1e-3)
INITIAL_INTERVALS = 8  # initial intervals of each path
QUADRATURE_NODES = (0.2113248654, 0.7886751346)  # of an interval: Gauss-Legendre with two points, equal weights
MAX_ROUNDS = 14  # evaluations of an interval and its halves: the smallest is 2^-16 of the path
# fraction of the tolerance that an interval may use if its path as a whole exceeds it (0.15 costs a quarter more)
INTERVAL_TOLERANCE = 0.25

# by stream: positions (n,) in the requested paths, and the attributions of each step (n, S)
StreamAttributions = dict[str, tuple[Tensor, Tensor]]


class IntegrationPaths(Protocol):
    """N straight paths, each from a baseline (0) to an input (1), and the network's output along them."""

    @property
    def num_steps(self) -> dict[str, int]:
        """By stream."""
        ...

    def chunks(self, paths: Tensor) -> Iterator[Tensor]:
        """Positions in `paths` (Q,), split into batches for one pass each."""
        ...

    def values(self, paths: Tensor, alphas: Tensor) -> Tensor:
        """(Q,) explained output at the points `alphas` of the paths, in one pass without gradients."""
        ...

    def gradients(self, paths: Tensor, alphas: Tensor) -> StreamAttributions:
        """Gradient times (input - baseline) of each step, for the paths that have the stream."""
        ...


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated gradients of every step of N inputs."""

    steps: dict[str, Tensor]  # by stream: (N, S)
    explained: Tensor  # (N,) output at the input minus output at the baseline
    # (N,) float64, on the CPU (a Mac's GPU has none): `explained` minus the sum of the attributions, which is
    # captum's convergence delta with the sign turned
    gap: Tensor


def gap_tolerance(explained: Tensor) -> Tensor:
    """Tolerance of the gap of integrated gradients."""
    return (RELATIVE_TOLERANCE * explained.abs()).clamp(min=ABSOLUTE_TOLERANCE)


@dataclass(frozen=True)
class _Intervals:
    """Intervals of paths, and the network's output at both ends of each."""

    path: Tensor
    start: Tensor
    end: Tensor
    start_value: Tensor
    end_value: Tensor

    def __getitem__(self, mask: Tensor) -> "_Intervals":
        return _Intervals(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))


def integrate(
    way: IntegrationPaths, count: int, device: torch.device, rounds: int = MAX_ROUNDS
) -> IntegratedGradients:
    """Integrated gradients of `count` paths; fewer rounds of bisection are faster and less exact."""
    intervals, explained = _initial_intervals(way, torch.arange(count, device=device))
    totals = {stream: torch.zeros(count, num_steps, device=device) for stream, num_steps in way.num_steps.items()}
    final_gap = torch.zeros_like(explained)  # of the intervals that are accepted
    for round_ in range(rounds):
        attributions = _attribute(way, intervals)
        attributed = torch.zeros_like(intervals.start)
        for positions, scores in attributions.values():
            attributed.index_add_(0, positions, scores.sum(1))
        gap = intervals.end_value - intervals.start_value - attributed
        is_last = round_ == rounds - 1
        is_accepted = _accepted(intervals.path, gap, final_gap, gap_tolerance(explained)) | is_last
        for stream, (positions, scores) in attributions.items():
            totals[stream].index_add_(0, intervals.path[positions], scores * is_accepted[positions, None])
        final_gap.index_add_(0, intervals.path, gap * is_accepted)
        if is_accepted.all():
            break
        intervals = _bisect(way, intervals[~is_accepted])
    gap = explained.cpu().double() - sum(total.cpu().double().sum(1) for total in totals.values())
    return IntegratedGradients(totals, explained, gap)


def _initial_intervals(way: IntegrationPaths, paths: Tensor) -> tuple[_Intervals, Tensor]:
    alphas = torch.linspace(0, 1, INITIAL_INTERVALS + 1, device=paths.device).repeat(len(paths))
    values = _values(way, paths.repeat_interleave(INITIAL_INTERVALS + 1), alphas).view(
        len(paths), INITIAL_INTERVALS + 1
    )
    alphas, path = alphas.view_as(values), paths.repeat_interleave(INITIAL_INTERVALS)
    ends = (alphas[:, :-1], alphas[:, 1:], values[:, :-1], values[:, 1:])
    return _Intervals(path, *(end.flatten() for end in ends)), values[:, -1] - values[:, 0]


def _bisect(way: IntegrationPaths, intervals: _Intervals) -> _Intervals:
    middle = (intervals.start + intervals.end) / 2
    value = _values(way, intervals.path, middle)
    first = (intervals.path, intervals.start, middle, intervals.start_value, value)
    second = (intervals.path, middle, intervals.end, value, intervals.end_value)
    return _Intervals(*map(torch.cat, zip(first, second, strict=True)))


def _values(way: IntegrationPaths, paths: Tensor, alphas: Tensor) -> Tensor:
    values = torch.zeros_like(alphas)
    for chunk in way.chunks(paths):
        values[chunk] = way.values(paths[chunk], alphas[chunk])
    return values


def _attribute(way: IntegrationPaths, intervals: _Intervals) -> StreamAttributions:
    """Attributions of each interval's steps by Gauss-Legendre quadrature: positions in `intervals`, and scores."""
    length, batches = intervals.end - intervals.start, {}
    alphas = torch.cat([intervals.start + node * length for node in QUADRATURE_NODES])
    interval = torch.arange(len(length), device=length.device).repeat(len(QUADRATURE_NODES))
    for chunk in way.chunks(intervals.path[interval]):
        gradients = way.gradients(intervals.path[interval[chunk]], alphas[chunk])
        for stream, (positions, scores) in gradients.items():
            index = interval[chunk[positions]]
            weights = length[index] / len(QUADRATURE_NODES)
            batches.setdefault(stream, []).append((index, scores * weights[:, None]))
    joined = {stream: tuple(map(torch.cat, zip(*batch, strict=True))) for stream, batch in batches.items()}
    return cast("StreamAttributions", joined)  # two tensors each


def _accepted(path: Tensor, gap: Tensor, final_gap: Tensor, tolerance: Tensor) -> Tensor:
    """Intervals that need no bisection: all of a path whose total gap is small; otherwise those whose own gap is
    small, unless their gaps add up to more than the tolerance."""
    is_small, limit = gap.abs() <= INTERVAL_TOLERANCE * tolerance[path], 0.9 * tolerance
    is_path_within, is_rest_within = (
        final_gap.index_add(0, path, summand).abs() <= limit for summand in (gap, gap * is_small)
    )
    return is_path_within[path] | (is_small & is_rest_within[path])

"""SHAP (Lundberg and Lee 2017) by its own library: of an utterance's parts and features; both heads."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merc.attribution import Case
from merc.probe import Change, log_odds

# which of N games (Q,), who plays in it (Q, P) bool -> (Q, outputs)
Game = Callable[[np.ndarray, np.ndarray], np.ndarray]
SAMPLES = 32  # points between blank and utterance at which the gradient explainer looks


@dataclass(frozen=True)
class Shap:
    """Values (N, P) by task, of the log-odds of the predicted label; what they miss of the whole change (N,)."""

    values: dict[str, np.ndarray]
    gap: np.ndarray


def library():
    """shap, without numba's compiler: what it would compile costs seconds a process and is a loop over 25 parts."""
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    import shap

    return shap


def permuted(model: Game, counts: np.ndarray, seed: int) -> np.ndarray:
    """(N, P, outputs) values of N games of `counts` players, NaN beyond: one order in, and in the same order out.

    What shap's PermutationExplainer computes with one permutation, in the same order, game by game (a test compares
    them); here all games are asked together, which takes a third of the time.
    """
    orders = [np.random.RandomState(seed).permutation(count) for count in counts]
    width = int(counts.max())
    playing = [_in_and_out(order, width) for order in orders]
    told = model(np.repeat(np.arange(len(counts)), 2 * counts + 1), np.concatenate(playing))
    values, first = np.full((len(counts), width, told.shape[1]), np.nan), 0
    for row, order in enumerate(orders):
        gains = np.diff(told[first : first + 2 * len(order) + 1], axis=0)
        values[row, order] = (gains[: len(order)] - gains[len(order) :]) / 2
        first += 2 * len(order) + 1
    return values


def _in_and_out(order: np.ndarray, width: int) -> np.ndarray:
    """(2 P + 1, width) bool: nobody, one more at a time until all play, one less at a time until nobody does."""
    place, turn = np.full(width, 2 * width), np.arange(2 * len(order) + 1)[:, None]
    place[order] = np.arange(len(order))
    return (turn > place) & (turn <= place + len(order))


def of_parts(case: Case, seed: int) -> Shap:
    """By permutation: a part that does not play is blank."""
    chosen = _labels(case)
    counts, where = case.parts.counts, case.emotion.device

    def model(games: np.ndarray, playing: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(games).to(where)
        told = case.answers(rows, torch.from_numpy(~playing).to(where))
        return answers(told, chosen, rows).cpu().double().numpy()

    found, everyone = permuted(model, counts, seed), np.arange(len(counts))
    with torch.no_grad():
        whole = answers(case.probe.answer(case.probe.rows), chosen, case.probe.rows).cpu().double().numpy()
    blank = model(everyone, np.zeros((len(counts), int(counts.max())), bool))
    gap = np.abs(np.nansum(found, 1) - (whole - blank)).max(1) * (counts > 0)
    return Shap({task: found[..., column] for column, task in enumerate(chosen)}, gap)


def of_features(case: Case, rows: list[int], seed: int) -> tuple[Shap, np.ndarray, list[str]]:
    """By the gradient explainer, of every feature over all of an utterance's steps: values, means (n, F), names."""
    chosen, names = _labels(case), _names(case)
    found = []
    for row in rows:
        model = _Features(case, row, chosen)
        explainer = library().GradientExplainer(model, torch.zeros(1, len(names)))
        values = explainer.shap_values(torch.ones(1, len(names)), nsamples=SAMPLES, rseed=seed)
        with torch.no_grad():
            blank, whole = model(torch.stack([torch.zeros(len(names)), torch.ones(len(names))])).cpu().numpy()
        found.append((values.reshape(len(names), len(chosen)), whole - blank))
    values, explained = map(np.stack, zip(*found, strict=True))
    gap = np.abs(values.sum(1) - explained).max(1) / np.abs(explained).max(1)
    return (
        Shap({task: values[..., column] for column, task in enumerate(chosen)}, gap),
        np.stack([_means(case, row) for row in rows]),
        names,
    )


def answers(logits: dict[str, Tensor], chosen: dict[str, Tensor], rows: Tensor) -> Tensor:
    """(Q, tasks) log-odds of the labels chosen for the rows (Q,)."""
    return torch.stack([log_odds(logits[task], own[rows]) for task, own in chosen.items()], 1)


class _Features(nn.Module):
    """(B, F) how much there is of each feature, from the blank's (0) to the utterance's own (1) -> (B, tasks)."""

    def __init__(self, case: Case, row: int, chosen: dict[str, Tensor]):
        super().__init__()
        self.case, self.row, self.chosen = case, row, chosen

    def forward(self, much: Tensor) -> Tensor:
        rows = torch.full((len(much),), self.row, device=self.case.emotion.device)
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            return answers(self.case.probe.answer(rows, change=self._scaled(rows, much)), self.chosen, rows)

    def _scaled(self, rows: Tensor, much: Tensor) -> Change:
        columns = _columns(self.case)

        def change(stream: str, values: Tensor, which: Tensor) -> Tensor:
            if stream not in columns:
                return values
            blank = self.case.blank(stream, values, rows[which])
            share = much.to(values.device)[which][:, None, columns[stream]]
            return values - (1 - share) * (values - blank).nan_to_num()

        return change


def _labels(case: Case) -> dict[str, Tensor]:
    """(N,) the label of each task that is explained: the case's emotion, the predicted sentiment."""
    with torch.no_grad():
        told = case.probe.answer(case.probe.rows)
    tasks = [task for task in case.probe.network.labels if task in told]
    return {task: case.emotion if task == "emotion" else told[task].argmax(1) for task in tasks}


def _columns(case: Case) -> dict[str, slice]:
    """Where each stream's features stand among all."""
    values, found, before = case.probe.batch["values"], {}, 0
    for stream in sorted(case.owner):
        width = values[stream].shape[2]
        found[stream], before = slice(before, before + width), before + width
    return found


def _names(case: Case) -> list[str]:
    return [
        f"{stream} {number}" for stream, own in _columns(case).items() for number in range(own.stop - own.start)
    ]


def _means(case: Case, row: int) -> np.ndarray:
    """(F,) mean of each feature over the row's steps; NaN of a stream that it has not."""
    found = []
    for stream, own in _columns(case).items():
        entry = int(case.probe.entries[stream][row])
        values, steps = case.probe.batch["values"][stream], case.probe.batch["steps"][stream]
        mean = (
            values[entry, : int(steps[entry])].mean(0)
            if entry >= 0
            else torch.full((own.stop - own.start,), np.nan)
        )
        found.append(mean.cpu().numpy())
    return np.concatenate(found)

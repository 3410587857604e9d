"""SHAP (Lundberg and Lee 2017) by its own library: of an utterance's parts and features; both heads."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merc.attribution import Case
from merc.probe import Change, log_odds

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


def permuted(model: Callable[[np.ndarray], np.ndarray], players: int, seed: int) -> np.ndarray:
    """(players, outputs) values of `model` ((B, players) of 0 and 1 -> (B, outputs)): one order there and back."""
    explainer = library().PermutationExplainer(model, lambda mask, row: (row * mask)[None], seed=seed)
    return explainer(np.ones((1, players)), max_evals=2 * players + 1, silent=True).values[0]


def of_parts(case: Case, seed: int) -> Shap:
    """By the permutation explainer: a part that does not play is blank."""
    chosen = _labels(case)
    width, rows = int(case.parts.counts.max()), len(case.probe)
    values = {task: np.full((rows, width), np.nan) for task in chosen}
    gap = np.zeros(rows)
    for row, count in enumerate(case.parts.counts.tolist()):
        if not count:  # imported features alone
            continue
        model = _Parts(case, row, width, chosen)
        found = permuted(model, count, seed)
        whole, blank = model(np.stack([np.ones(count), np.zeros(count)]))
        gap[row] = np.abs(found.sum(0) - (whole - blank)).max()
        for column, task in enumerate(chosen):
            values[task][row, :count] = found[:, column]
    return Shap(values, gap)


def of_features(case: Case, rows: list[int], seed: int) -> tuple[Shap, np.ndarray, list[str]]:
    """By the gradient explainer, of every feature over all of an utterance's steps: values, means (n, F), names."""
    chosen, names = _labels(case), _names(case)
    found = []
    for row in rows:
        model = _Features(case, row, chosen)
        explainer = library().GradientExplainer(model, torch.zeros(1, len(names)))
        values = explainer.shap_values(torch.ones(1, len(names)), nsamples=SAMPLES, rseed=seed)
        with torch.no_grad():
            blank, whole = model(torch.stack([torch.zeros(len(names)), torch.ones(len(names))])).numpy()
        found.append((values.reshape(len(names), len(chosen)), whole - blank))
    values, explained = map(np.stack, zip(*found, strict=True))
    gap = np.abs(values.sum(1) - explained).max(1) / np.abs(explained).max(1)
    return (
        Shap({task: values[..., column] for column, task in enumerate(chosen)}, gap),
        np.stack([_means(case, row) for row in rows]),
        names,
    )


def answers(logits: dict[str, Tensor], chosen: dict[str, Tensor], row: int) -> Tensor:
    """(B, tasks) log-odds of the labels chosen for a row."""
    worth = [log_odds(logits[task], own[row].expand(len(logits[task]))) for task, own in chosen.items()]
    return torch.stack(worth, 1)


@dataclass(frozen=True)
class _Parts:
    case: Case
    row: int
    width: int
    chosen: dict[str, Tensor]

    def __call__(self, playing: np.ndarray) -> np.ndarray:
        gone = torch.ones(len(playing), self.width, dtype=torch.bool, device=self.case.emotion.device)
        gone[:, : playing.shape[1]] = torch.from_numpy(playing == 0).to(gone.device)
        rows = torch.full((len(playing),), self.row, device=gone.device)
        told = self.case.probe.answers(rows, lambda own: self.case.blanked(rows[own], gone[own]))
        return answers(told, self.chosen, self.row).double().cpu().numpy()


class _Features(nn.Module):
    """(B, F) how much there is of each feature, from the blank's (0) to the utterance's own (1) -> (B, tasks)."""

    def __init__(self, case: Case, row: int, chosen: dict[str, Tensor]):
        super().__init__()
        self.case, self.row, self.chosen = case, row, chosen

    def forward(self, much: Tensor) -> Tensor:
        rows = torch.full((len(much),), self.row, device=self.case.emotion.device)
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            return answers(self.case.probe.answer(rows, change=self._scaled(rows, much)), self.chosen, self.row)

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

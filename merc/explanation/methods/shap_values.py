"""SHAP values (Lundberg and Lee 2017) of an utterance's parts and features, for every task of the network."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from merc.encoders.audio import prosody
from merc.encoders.vision import hog
from merc.explanation.counterfactual import Change, log_odds
from merc.explanation.methods.part_attribution import Case
from merc.runtime import collector

# which of N games (Q,), its coalition (Q, P) bool -> values (Q, outputs)
Game = Callable[[np.ndarray, np.ndarray], np.ndarray]
# streams whose features have names
MEASURED = {"audio/prosody": prosody.feature_names, "vision/hog": hog.feature_names}
SAMPLES = 32  # points between blank and utterance at which the gradient explainer evaluates gradients


@dataclass(frozen=True)
class ShapValues:
    """SHAP values of the log-odds of the predicted labels."""

    values: dict[str, np.ndarray]  # by task: (N, P)
    gap: np.ndarray  # (N,) absolute difference between their sum and the explained difference


@cache
def import_shap():
    """Import shap without numba's compiler, which takes seconds per process for what is a loop over 25 parts."""
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    with collector.paused():
        import shap

    return shap


def permutation_values(model: Game, counts: np.ndarray, seed: int) -> np.ndarray:
    """(N, P, outputs) SHAP values of N games of `counts` players, from one permutation forwards and backwards.

    NaN beyond a game's players. The same as shap's PermutationExplainer with one permutation, in the same order,
    game by game (a test compares them); here all games share their batches, which takes a third of the time.
    """
    orders = [np.random.RandomState(seed).permutation(count) for count in counts]
    width = int(counts.max())
    playing = [_permutation_coalitions(order, width) for order in orders]
    outputs = model(np.repeat(np.arange(len(counts)), 2 * counts + 1), np.concatenate(playing))
    values, first = np.full((len(counts), width, outputs.shape[1]), np.nan), 0
    for row, order in enumerate(orders):
        gains = np.diff(outputs[first : first + 2 * len(order) + 1], axis=0)
        values[row, order] = (gains[: len(order)] - gains[len(order) :]) / 2
        first += 2 * len(order) + 1
    return values


def _permutation_coalitions(order: np.ndarray, width: int) -> np.ndarray:
    """(2 P + 1, width) bool: the empty coalition, players added one by one, then removed in the same order."""
    rank, turn = np.full(width, 2 * width), np.arange(2 * len(order) + 1)[:, None]
    rank[order] = np.arange(len(order))
    return (turn > rank) & (turn <= rank + len(order))


def part_shap_values(case: Case, seed: int) -> ShapValues:
    """SHAP values of an utterance's parts, by permutation; the parts outside a coalition are blank."""
    labels = _explained_labels(case)
    counts, device = case.parts.counts, case.emotion.device

    def model(games: np.ndarray, playing: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(games).to(device)
        logits = case.logits_without(rows, torch.from_numpy(~playing).to(device))
        return label_log_odds(logits, labels, rows).cpu().double().numpy()

    values, games = permutation_values(model, counts, seed), np.arange(len(counts))
    with torch.no_grad():
        logits = case.probe.outputs(case.probe.rows)
        complete = label_log_odds(logits, labels, case.probe.rows).cpu().double().numpy()
    blank = model(games, np.zeros((len(counts), int(counts.max())), bool))
    gap = np.abs(np.nansum(values, 1) - (complete - blank)).max(1) * (counts > 0)
    return ShapValues({task: values[..., column] for column, task in enumerate(labels)}, gap)


def feature_shap_values(case: Case, rows: list[int], seed: int) -> tuple[ShapValues, np.ndarray, list[str]]:
    """SHAP values of every feature, over all steps of an utterance, by shap's gradient explainer.

    Returns the values, each feature's mean over the steps (n, F), and the features' names (F,).
    """
    labels, names = _explained_labels(case), _feature_names(case)
    results = []
    for row in rows:
        model = _FeatureScaling(case, row, labels)
        explainer = import_shap().GradientExplainer(
            model,
            torch.zeros(1, len(names)),  # pyright: ignore[reportArgumentType] shap takes torch's tensors too
        )
        values = explainer.shap_values(torch.ones(1, len(names)), nsamples=SAMPLES, rseed=seed)
        with torch.no_grad():
            ends = torch.stack([torch.zeros(len(names)), torch.ones(len(names))])
            blank, complete = model(ends).cpu().numpy()
        results.append((cast("np.ndarray", values).reshape(len(names), len(labels)), complete - blank))
    values, explained = map(np.stack, zip(*results, strict=True))
    gap = np.abs(values.sum(1) - explained).max(1) / np.abs(explained).max(1)
    return (
        ShapValues({task: values[..., column] for column, task in enumerate(labels)}, gap),
        np.stack([_feature_means(case, row) for row in rows]),
        names,
    )


def label_log_odds(logits: dict[str, Tensor], labels: dict[str, Tensor], rows: Tensor) -> Tensor:
    """(Q, tasks) log-odds of the rows' labels; `logits` of Q rows, `labels` (N,) of all."""
    return torch.stack([log_odds(logits[task], label[rows]) for task, label in labels.items()], 1)


class _FeatureScaling(nn.Module):
    """Scales (B, F) of each feature, from the blank's (0) to the utterance's (1) -> log-odds (B, tasks)."""

    def __init__(self, case: Case, row: int, labels: dict[str, Tensor]):
        super().__init__()
        self.case, self.row, self.labels = case, row, labels

    def forward(self, scales: Tensor) -> Tensor:
        rows = torch.full((len(scales),), self.row, device=self.case.emotion.device)
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            return label_log_odds(
                self.case.probe.outputs(rows, change=self._scaled(rows, scales)), self.labels, rows
            )

    def _scaled(self, rows: Tensor, scales: Tensor) -> Change:
        columns = _feature_columns(self.case)

        def change(stream: str, values: Tensor, queries: Tensor) -> Tensor:
            if stream not in columns:
                return values
            blank = self.case.blank(stream, values, rows[queries])
            scale = scales.to(values.device)[queries][:, None, columns[stream]]
            return values - (1 - scale) * (values - blank).nan_to_num()

        return change


def _explained_labels(case: Case) -> dict[str, Tensor]:
    """By task: (N,) the explained label, which is the case's emotion, and the predicted label of other tasks."""
    with torch.no_grad():
        logits = case.probe.outputs(case.probe.rows)
    tasks = [task for task in case.probe.network.labels if task in logits]
    return {task: case.emotion if task == case.probe.task else logits[task].argmax(1) for task in tasks}


def _feature_columns(case: Case) -> dict[str, slice]:
    """Columns of each stream's features among the F features of all streams."""
    values, columns, first = case.probe.batch["values"], {}, 0
    for stream in sorted(case.owner):
        width = values[stream].shape[2]
        columns[stream], first = slice(first, first + width), first + width
    return columns


def _feature_names(case: Case) -> list[str]:
    """Of signal processing what it measures, `audio: pitch, mean`; of a network's states their numbers."""
    names = []
    for stream, columns in _feature_columns(case).items():
        width = columns.stop - columns.start
        feature_names = MEASURED[stream]() if stream in MEASURED else []
        modality = stream.partition("/")[0]
        names += (
            [f"{modality}: {name}" for name in feature_names]
            if len(feature_names) == width
            else [f"{stream} {number}" for number in range(width)]
        )
    return names


def _feature_means(case: Case, row: int) -> np.ndarray:
    """(F,) mean of each feature over the row's steps; NaN for streams that the row lacks."""
    means = []
    for stream, columns in _feature_columns(case).items():
        entry = int(case.probe.entries[stream][row])
        values, num_steps = case.probe.batch["values"][stream], case.probe.batch["steps"][stream]
        mean = (
            values[entry, : int(num_steps[entry])].mean(0)
            if entry >= 0
            else torch.full((columns.stop - columns.start,), np.nan)
        )
        means.append(mean.cpu().numpy())
    return np.concatenate(means)

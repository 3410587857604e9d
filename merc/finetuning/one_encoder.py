"""Fine-tuning one encoder on single utterances (stage adapt): data, linear heads, batches, loss and dev scores."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from merc.data.batches.dataset import is_labelled
from merc.data.batches.label_fraction import ALL_LABELS, LabelSubset
from merc.data.records import manifest as manifests
from merc.data.records.labels import LabelSpace, Task
from merc.data.records.selection import Selection
from merc.encoders.base.encoder import Encoder, length_sorted_batches
from merc.encoders.base.registry import Reader
from merc.finetuning.augmentation import AugmentedBatch, no_augmentation
from merc.finetuning.frozen_layers import FrozenLayers
from merc.runtime.errors import UserError
from merc.training.core import data_parallel
from merc.training.core.loop import SCORE
from merc.training.core.objectives import (
    DIRECT_LOSSES,
    balanced_weights,
    cross_entropy,
    vote_cross_entropy,
    yes_weights,
)
from merc.training.core.supervision import selecting_score
from merc.training.core.task_scores import scores_by_task

POOL_BATCHES = 8  # batches whose utterances are sorted by length together, to reduce padding


@dataclass(frozen=True)
class LabelledUtterances:
    """Inputs and targets of the labelled utterances that have the modality."""

    inputs: list  # of the encoder
    targets: dict[str, np.ndarray]  # by task, as Task.targets
    share: np.ndarray  # (N,) mean number of times that each is drawn in an epoch
    tasks: dict[str, Task]
    votes: dict[str, np.ndarray] = field(default_factory=dict)  # by task: (N, C) shares of the annotators' votes

    def __len__(self) -> int:
        return len(self.inputs)

    def has_labels(self, task: str) -> bool:
        """Whether any utterance has a label of the task."""
        return bool(is_labelled(torch.from_numpy(self.targets[task])).any())

    def classes(self, chosen: Selection) -> dict[str, int]:
        """The number of outputs of each task that has labels, that of `train.select` among them."""
        if not self.has_labels(chosen.task):
            raise UserError(f"train: no utterance has the modality and a label of {chosen.task} (train.select)")
        return {name: len(task.outputs) for name, task in self.tasks.items() if self.has_labels(name)}


def read_utterances(
    split: str, share: dict[str, float], reader: Reader, space: LabelSpace, labelled: LabelSubset = ALL_LABELS
) -> LabelledUtterances:
    """The utterances of the corpora in `share` that have the modality and a label of any task."""
    if not share:
        raise UserError("params.yaml: data.share: no corpus with a share uses this encoder; nothing to train on")
    rows = manifests.read_manifests(split, list(share))
    inputs = []
    for corpus in share:
        inputs += reader(
            manifests.split_folder(split, corpus),
            rows[rows["corpus"] == corpus],  # pyright: ignore[reportArgumentType] pandas: a mask selects rows
        )
    targets = {name: task.targets(rows) for name, task in space.tasks.items()}
    is_target = np.any([*space.labelled(rows).values()], axis=0) & labelled.rows(rows)
    kept = np.flatnonzero(is_target & np.array([utterance is not None for utterance in inputs], dtype=bool))
    shares = rows["corpus"].map(share)  # pyright: ignore[reportArgumentType] pandas: map takes a dict too
    votes = {name: task.distributions(rows) for name, task in space.tasks.items()}
    return LabelledUtterances(
        votes={name: shown[kept] for name, shown in votes.items() if shown is not None},
        inputs=[inputs[row] for row in kept],
        targets={task: target[kept] for task, target in targets.items()},
        share=shares.to_numpy(float)[kept],
        tasks=space.tasks,
    )


class LinearProbe(nn.Module):
    """Linear heads over the time average of an encoder's features; each part of the encoder has its own logits.

    A regression's number is measured from the middle of its range, in halves of it, before it is returned.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: dict[str, int],
        tasks: dict[str, Task],
        frozen: FrozenLayers | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.tasks, self.frozen = encoder, tasks, frozen
        self.norm = nn.GroupNorm(encoder.parts, encoder.dim)  # with one part: LayerNorm
        self.heads = nn.ModuleDict({task: nn.Linear(encoder.dim, count) for task, count in classes.items()})

    def new_parameters(self) -> list[nn.Parameter]:
        """The parameters trained from the beginning: all but the encoder's pretrained layers."""
        return [*self.norm.parameters(), *self.heads.parameters(), *self.encoder.new_parameters()]

    def train(self, mode: bool = True) -> Self:
        """A pretrained encoder stays in eval mode: no batch statistics, no masks on its input (SpecAugment)."""
        super().train(mode)
        self.encoder.train(mode and self.encoder.untaught)
        return self

    def forward(self, inputs: Sequence) -> dict[str, Tensor]:
        """Logits (N, classes) of each task: the mean over the parts."""
        return {task: logits.mean(dim=0) for task, logits in self.part_logits(inputs).items()}

    def part_logits(self, inputs: Sequence) -> dict[str, Tensor]:
        """Logits (parts, N, classes) of each task; of several processes each encodes a part of the inputs.

        An encoder in training mode encodes all in each: its batch statistics and dropout are the whole batch's.
        """
        (mean,) = self._mean(inputs) if self.encoder.training else data_parallel.divided(self._mean, inputs)
        parts = self.norm(mean).unflatten(1, (self.encoder.parts, -1)).transpose(0, 1)
        outputs = {task: _part_logits(cast(nn.Linear, head), parts) for task, head in self.heads.items()}
        return {task: _in_range(self.tasks[task], output) for task, output in outputs.items()}

    def _mean(self, inputs: Sequence) -> tuple[Tensor]:
        """The features' average over time (N, dim)."""
        device = self.norm.weight.device
        if self.frozen is not None:
            self.frozen.load(inputs)
        values, lengths = self.encoder({name: t.to(device) for name, t in self.encoder.prepare(inputs).items()})
        lengths = lengths.to(device)
        mask = (torch.arange(values.shape[1], device=device) < lengths[:, None]).unsqueeze(2)
        return ((values * mask).sum(dim=1) / lengths[:, None],)


def _part_logits(head: nn.Linear, parts: Tensor) -> Tensor:
    """(parts, N, D) -> (parts, N, classes): apply to each part its slice of the head's weights."""
    weights = head.weight.unflatten(1, (len(parts), -1))  # (classes, parts, D)
    return parts @ weights.permute(1, 2, 0) + head.bias


def _in_range(task: Task, outputs: Tensor) -> Tensor:
    """Outputs in the unit of the labels."""
    if task.kind != "regression":
        return outputs
    return (task.low + task.high) / 2 + (task.high - task.low) / 2 * outputs


class UtteranceBatches:
    """Random batches of training utterances of similar length, drawn as often as their shares say.

    `longest` is the maximum length of an input after augmentation, in the encoder's unit. Longer inputs are cropped
    and count as equally long: they need no sorting, and batches sorted by length would contain similar emotions.
    """

    def __init__(
        self, train: LabelledUtterances, encoder: Encoder, size: int, seed: int, longest: float = math.inf
    ) -> None:
        self.size, self.random, self.share = size, np.random.default_rng(seed), train.share
        self.lengths = np.array([min(encoder.size(utterance), longest) for utterance in train.inputs])

    def draw(self) -> list[np.ndarray]:
        """The row indices of each batch of the next epoch."""
        times = np.floor(self.share + self.random.random(len(self.share))).astype(int)
        if not times.any():  # an epoch must not be empty
            times[self.random.choice(len(times), p=self.share / self.share.sum())] = 1
        order = self.random.permutation(np.repeat(np.arange(len(times)), times))
        pools = np.split(order, range(POOL_BATCHES * self.size, len(order), POOL_BATCHES * self.size))
        batches = [batch for pool in pools for batch in self._sorted_batches(pool)]
        return [batches[index] for index in self.random.permutation(len(batches))]

    def build(self, drawn: np.ndarray, progress: float) -> np.ndarray:
        """The rows themselves: the objective reads their inputs."""
        return drawn

    def describe(self, draws: Sequence[np.ndarray]) -> dict[str, float]:
        """Nothing."""
        return {}

    def _sorted_batches(self, pool: np.ndarray) -> list[np.ndarray]:
        pool = pool[np.argsort(self.lengths[pool], kind="stable")]
        return np.split(pool, range(self.size, len(pool), self.size))


class ProbeObjective:
    """The loss of every head: of a classification the class-weighted cross-entropy, by the votes if there are any.

    `augment` is applied to each batch; a mixture of two utterances has both their labels, weighted.
    """

    def __init__(
        self,
        train: LabelledUtterances,
        classes: dict[str, int],
        class_weight_power: float,
        smoothing: float = 0.0,
        augment: Callable[[list], AugmentedBatch] = no_augmentation,
    ) -> None:
        self.train, self.smoothing, self.augment = train, smoothing, augment
        self.weights = {
            task: _class_weights(train.targets[task], count, class_weight_power)
            for task, count in classes.items()
            if train.tasks[task].kind == "classification"
        }
        self.yes_weights = {
            task: yes_weights(torch.from_numpy(train.targets[task]), class_weight_power)
            for task in classes
            if train.tasks[task].kind == "multilabel"
        }

    def __call__(self, probe: LinearProbe, rows: np.ndarray) -> dict[str, Tensor]:
        batch = self.augment([self.train.inputs[row] for row in rows])
        return {
            task: torch.stack([self._part_loss(task, logits, rows, batch) for logits in part_logits]).mean()
            for task, part_logits in probe.part_logits(batch.inputs).items()
        }

    def _part_loss(self, task: str, logits: Tensor, rows: np.ndarray, batch: AugmentedBatch) -> Tensor:
        """The mean over labels; a mixed utterance has two, which share a weight of 1."""
        total, count = logits.new_zeros(()), logits.new_zeros(())
        for labelled, label_weight in (
            (rows, batch.label_weight),
            (rows[batch.partner], 1 - batch.label_weight),
        ):
            target = torch.from_numpy(self.train.targets[task][labelled]).to(logits.device)
            weight = torch.from_numpy(label_weight).float().to(logits.device)
            votes = self.train.votes.get(task)
            shares = None if votes is None else torch.from_numpy(votes[labelled]).to(logits)
            total = total + (weight * self._losses(task, logits, target, shares)).sum()
            counted = is_labelled(target) if shares is None else is_labelled(target) | (shares.nansum(1) > 0)
            count = count + (weight * counted).sum()
        return total / count.clamp(min=1)

    def _losses(self, task: str, outputs: Tensor, target: Tensor, shares: Tensor | None) -> Tensor:
        """(N,), 0 without a label and votes; a tie of votes has no label, and teaches its shares."""
        if shares is not None:
            weight = self.weights[task].to(outputs)
            return vote_cross_entropy(outputs, shares, target, weight, self.smoothing)[0]
        if task in self.weights:
            return cross_entropy(outputs, target, self.weights[task].to(outputs), self.smoothing)
        yes = self.yes_weights.get(task)
        weight = None if yes is None else yes.to(outputs)
        return DIRECT_LOSSES[self.train.tasks[task].kind](outputs, target, self.train.tasks[task], weight)


def _class_weights(target: np.ndarray, classes: int, power: float) -> Tensor:
    counts = torch.from_numpy(np.bincount(target[target >= 0], minlength=classes)).float()
    return balanced_weights(counts, counts, power)


class ProbeScorer:
    """Scores a probe on dev; the score of `train.select` chooses the best epoch."""

    def __init__(self, dev: LabelledUtterances, encoder: Encoder, chosen: Selection) -> None:
        if not dev.has_labels(chosen.task):
            raise UserError(
                f"dev: no utterance has a label of {chosen.task}, by which train.select chooses an epoch"
            )
        self.dev, self.chosen = dev, chosen
        self.batches = list(
            length_sorted_batches([encoder.size(utterance) for utterance in dev.inputs], encoder.budget)
        )

    def __call__(self, probe: LinearProbe) -> dict[str, float]:
        return {SCORE: selecting_score(self.scores(probe)[self.chosen.task][self.chosen.metric], self.chosen)}

    @torch.inference_mode()
    def scores(self, probe: LinearProbe) -> dict[str, dict[str, float]]:
        """The headline scores of every task."""
        probe.eval()
        logits = {
            task: np.zeros((len(self.dev), cast(nn.Linear, head).out_features), np.float32)
            for task, head in probe.heads.items()
        }
        for batch in self.batches:
            for task, batch_logits in probe([self.dev.inputs[row] for row in batch]).items():
                logits[task][batch] = batch_logits.float().cpu().numpy()
        return scores_by_task(self.dev.tasks, self.dev.targets, logits)

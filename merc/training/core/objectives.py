"""Training objectives: class-weighted label losses, modality dropout, feature noise.

An objective returns its weighted terms by name; the loss is their sum.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from merc.data.batches.dataset import Split, class_counts, is_labelled, votes_key
from merc.data.records.labels import Task
from merc.data.records.stream_name import StreamName
from merc.runtime.numerics import square_root
from merc.training.core.loop_config import TaskWeights
from merc.training.core.network import MultimodalNetwork


def plain_counts(count: Tensor) -> Tensor:
    """The class counts n_c unchanged."""
    return count


def effective_counts(count: Tensor) -> Tensor:
    """Effective number of samples (1 - b^n) / (1 - b) (Cui et al. 2019); b = (N - 1) / N for N samples in all."""
    count = count.double()  # b is close to 1
    b = 1 - 1 / count.sum().clamp(min=2)
    return ((1 - b**count) / (1 - b)).float()


# class counts -> the counts that class weights are the inverse of
CLASS_COUNTS: dict[str, Callable[[Tensor], Tensor]] = {"plain": plain_counts, "effective": effective_counts}


def class_weights(split: Split, task: str, power: float, counted: str = "plain") -> Tensor:
    """(C,) inverse class counts to a power, scaled to a mean weight of 1 over utterances."""
    counts = class_counts(split, task)
    return balanced_weights(CLASS_COUNTS[counted](counts), counts, power)


def balanced_weights(inverse_of: Tensor, counts: Tensor, power: float) -> Tensor:
    """(C,) weights `inverse_of`^-power, scaled to a mean of 1 over utterances with these class counts.

    A class that does not occur weighs nothing: as the rarest it would weigh most, and label smoothing, which
    PyTorch weights by class, would teach the network to answer it (docs/log.md).
    """
    weights = torch.where(counts > 0, inverse_of.clamp(min=1) ** -power, 0.0)
    return weights * counts.sum() / (weights * counts).sum()


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """(N,) -w log p of the true class, with label smoothing (Szegedy et al. 2016)."""
    return functional.cross_entropy(logits, target, weight, label_smoothing=smoothing, reduction="none")


def focal_loss(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """(N,) focal loss (1 - p)^2 x cross-entropy (Lin et al. 2017, gamma = 2): confident rows count little."""
    return (1 - _true_probability(logits, target)).square() * cross_entropy(logits, target, weight, smoothing)


def poly1_loss(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """(N,) Poly-1 loss, the cross-entropy + w (1 - p) (Leng et al. 2022, epsilon = 1)."""
    weights = weight[target.clamp(min=0)] * (target >= 0)
    return cross_entropy(logits, target, weight, smoothing) + weights * (1 - _true_probability(logits, target))


def _true_probability(logits: Tensor, target: Tensor) -> Tensor:
    """(N,) probability of the true class."""
    return logits.softmax(1).gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)


# (N, C) logits, (N,) targets, (C,) class weights, label smoothing -> (N,) losses, 0 where there is no label
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal_loss,
    "poly": poly1_loss,
}


@dataclass(frozen=True)
class LabelLoss:
    """The mean loss of each task over labelled utterances, weighted by sampling count.

    classification: one of LOSSES, weighted by class; with annotators' votes the cross-entropy with their shares.
    multilabel: binary cross-entropy, the mean over classes; a yes weighs (no / yes)^power, as a rare class
    weighs more in a classification (100 utterances, six classes: macro F1 0.61; with equal weights 0.08).
    regression: |value - label| in halves of the range, as MAE measures; an annotator's slip moves it little.
    """

    tasks: dict[str, Task]  # those with a label
    weights: dict[str, Tensor]  # classification -> (C,) class weights; multilabel -> (C,) of a yes
    task_weights: TaskWeights
    smoothing: float
    loss: str
    # classification -> (C,) tau log(class prior), added to the logits: logit adjustment (Menon et al. 2021)
    adjustment: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        split: Split,
        power: float,
        task_weights: TaskWeights,
        smoothing: float,
        *,
        counted: str = "plain",
        loss: str = "cross_entropy",
        tau: float = 0.0,
    ) -> "LabelLoss":
        """With class weights and class priors computed from the split, on its device."""
        device, tasks = split.present.device, {task: split.tasks[task] for task in split.heads()}
        exclusive = [name for name, task in tasks.items() if task.kind == "classification"]
        weights = {task: class_weights(split, task, power, counted).to(device) for task in exclusive}
        counts = {task: class_counts(split, task).clamp(min=1).to(device) for task in exclusive}
        for name in (name for name, task in tasks.items() if task.kind == "multilabel"):
            weights[name] = yes_weights(split.targets[name], power)
        adjustment = {task: tau * (count / count.sum()).log() for task, count in counts.items()}
        return cls(tasks, weights, task_weights, smoothing, loss, adjustment)

    def task_weight(self, task: str) -> float:
        """The weight of the task's loss."""
        return self.task_weights.get(task, 1.0)

    def __call__(self, output: dict, batch: dict) -> dict[str, Tensor]:
        """The weighted loss of each task."""
        return {
            name: self.task_weight(name) * self._loss(output[name], batch, task)
            for name, task in self.tasks.items()
        }

    def _loss(self, output: Tensor, batch: dict, task: Task) -> Tensor:
        if task.kind != "classification":
            losses = DIRECT_LOSSES[task.kind](output, batch[task.name], task, self.weights.get(task.name))
            importance = is_labelled(batch[task.name]).to(losses)
        elif votes_key(task.name) in batch:
            losses, importance = self._vote_losses(output, batch, task)
        else:
            target, weight = batch[task.name], self.weights[task.name]
            losses = LOSSES[self.loss](output + self.adjustment[task.name], target, weight, self.smoothing)
            importance = (weight[target.clamp(min=0)] * (target >= 0)).to(losses)
        count = batch.get("count", torch.ones_like(losses))
        return (losses * count).sum() / (importance * count).sum().clamp(min=1e-8)

    def _vote_losses(self, logits: Tensor, batch: dict, task: Task) -> tuple[Tensor, Tensor]:
        """(N,) losses by the votes' shares, and their weights (N,)."""
        shares, target, weight = batch[votes_key(task.name)], batch[task.name], self.weights[task.name]
        return vote_cross_entropy(logits + self.adjustment[task.name], shares, target, weight, self.smoothing)


def vote_cross_entropy(
    logits: Tensor, shares: Tensor, target: Tensor, weight: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """(N,) cross-entropy with the votes' shares, or the label where there are none, and its weights (N,)."""
    label = functional.one_hot(target.clamp(min=0), len(weight)) * (target >= 0).unsqueeze(1)
    shares = torch.where(shares.isnan(), label.to(logits), shares.to(logits))
    losses = functional.cross_entropy(logits, shares, weight, label_smoothing=smoothing, reduction="none")
    return losses * (shares.sum(1) > 0), (shares * weight).sum(1).to(losses)


def yes_weights(target: Tensor, power: float) -> Tensor:
    """(C,) (no / yes)^power of each class of a multilabel task's targets; 1 where a class never or always holds."""
    shown = target[is_labelled(target)]
    yes, no = shown.sum(0), (1 - shown).sum(0)
    return torch.where((yes > 0) & (no > 0), (no / yes.clamp(min=1)) ** power, 1.0)


def binary_losses(logits: Tensor, target: Tensor, task: Task, weight: Tensor | None = None) -> Tensor:
    """(N,) mean binary cross-entropy over classes, 0 without a label; `weight` (C,) of a yes."""
    losses = functional.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), reduction="none", pos_weight=weight
    )
    return losses.mean(1) * is_labelled(target)


def absolute_errors(values: Tensor, target: Tensor, task: Task, weight: Tensor | None = None) -> Tensor:
    """(N,) |value - label| in halves of the range, 0 without a label."""
    errors = (values[:, 0] - target.nan_to_num()).abs() / ((task.high - task.low) / 2)
    return errors * is_labelled(target)


# outputs (N, C), targets, task, weights or None -> (N,) losses, 0 where there is no label
DIRECT_LOSSES: dict[str, Callable[[Tensor, Tensor, Task, Tensor | None], Tensor]] = {
    "multilabel": binary_losses,
    "regression": absolute_errors,
}


@dataclass(frozen=True)
class ModalityDropout:
    """Modality dropout: hides modalities of utterances, or of entire dialogues, from the network.

    Modalities are hidden independently, as in the missing-rate conditions of the evaluation. Sometimes all are
    hidden, so that the network learns to predict from the context alone. Only `present` changes.
    """

    chance: float
    generator: torch.Generator
    warmup: float = 0.0  # fraction of the training over which the rate rises from 0 to its full value

    def __call__(self, batch: dict) -> Tensor:
        """(N, M): `present` without the hidden modalities."""
        present = batch["present"]
        ramp = min(1.0, batch.get("progress", 1.0) / self.warmup) if self.warmup else 1.0
        return present & (_uniform(batch, self.generator) >= self.chance * ramp).to(present.device)


@dataclass(frozen=True)
class FeatureNoise:
    """Partial absence: Gaussian noise on the features of modalities of utterances, or of entire dialogues.

    x' = x + s d (sqrt(r) c + sqrt(1 - r) e), where d is the features' standard deviation. e is drawn for every step
    (like hiss), c once for the utterance (like another microphone or light); s is uniform in 0..`loudest` and
    r in 0..1. The signal is then 1 / (1 + s^2) of the power of standardised features.
    """

    chance: float
    loudest: float  # in standard deviations of the training split's features
    generator: torch.Generator

    def __call__(self, network: MultimodalNetwork, batch: dict) -> tuple[dict, Tensor]:
        """The noisy batch, and (N, M) the signal's fraction of each modality's power: 1 without noise."""
        if not self.chance:
            return batch, torch.ones_like(batch["present"], dtype=torch.float)
        uniform = _uniform(batch, self.generator).to(batch["present"].device)
        levels = self.loudest * (1 - uniform / self.chance).clamp(min=0)
        values = {}
        for stream, features in batch["values"].items():
            level = levels[:, network.modalities.index(StreamName.parse(stream).modality)]
            values[stream] = self._add_noise(features, level[batch["rows"][stream]], network.spread(stream))
        return {**batch, "values": values}, 1 / (1 + levels.square())

    def _add_noise(self, values: Tensor, level: Tensor, deviation: Tensor) -> Tensor:
        """Features (n, S, D) with noise on utterances whose level (n,) is above 0; padding gets some, unused."""
        noisy = (level > 0).nonzero().squeeze(1)
        shape = (len(noisy), *values.shape[1:])
        ratio = torch.rand(shape[0], 1, 1, generator=self.generator).to(values.device)
        constant = torch.randn(shape[0], 1, shape[2], generator=self.generator).to(values.device)
        varying = torch.randn(shape, generator=self.generator).to(values.device)
        noise = square_root(ratio) * constant + square_root(1 - ratio) * varying
        return values.index_add(0, noisy, noise * deviation * level[noisy].view(-1, 1, 1))


def _uniform(batch: dict, generator: torch.Generator) -> Tensor:
    """(N, M) uniform numbers in [0, 1), drawn per utterance or, with probability 1/2 per dialogue, per dialogue.

    A missing or faulty sensor mostly stays so throughout a dialogue.
    """
    present, dialogue = batch["present"], batch["place"][:, 0].cpu()
    per_utterance = torch.rand(present.shape, generator=generator)
    per_dialogue = torch.rand(int(dialogue[-1]) + 1, present.shape[1] + 1, generator=generator)[dialogue]
    return torch.where(per_dialogue[:, :1] < 0.5, per_dialogue[:, 1:], per_utterance)


@dataclass(frozen=True)
class SupervisedObjective:
    """The teacher's objective: the label loss under modality dropout."""

    labels: LabelLoss
    hide: ModalityDropout

    def __call__(self, network: MultimodalNetwork, batch: dict) -> dict[str, Tensor]:
        return self.labels(network(batch, self.hide(batch)), batch)

"""What training minimises: each objective names its parts, weighted; their sum is the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from merc.batches import Split
from merc.numerics import square_root
from merc.params import Strict

LOUDEST = 2.0  # noise, in standard deviations of the training split's features


class Objective(Protocol):
    """The weighted parts of the loss of one batch."""

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]: ...


class TaskWeights(Strict):
    """How much each task counts in the label loss."""

    emotion: float = Field(ge=0)
    sentiment: float = Field(ge=0)


def frequency(split: Split, task: str) -> Tensor:
    """(C,) how often each class of a task occurs."""
    target = split.targets[task].cpu()
    return torch.bincount(target[target >= 0], minlength=len(split.labels[task])).float()


def plain(count: Tensor) -> Tensor:
    """n_c itself."""
    return count


def effective(count: Tensor) -> Tensor:
    """Effective number of samples (1 - b^n) / (1 - b) (Cui et al. 2019), with b = (N - 1) / N of all N samples."""
    each = count.double()  # b is close to 1
    b = 1 - 1 / each.sum().clamp(min=2)
    return ((1 - b**each) / (1 - b)).float()


# what the class weights are the inverse of
COUNTS: dict[str, Callable[[Tensor], Tensor]] = {"plain": plain, "effective": effective}


def class_weights(split: Split, task: str, power: float, counted: str = "plain") -> Tensor:
    """(C,) inverse class counts to a power, scaled so that the mean weight of an utterance is 1."""
    own = frequency(split, task)
    weights = COUNTS[counted](own).clamp(min=1) ** -power
    return weights * own.sum() / (weights * own).sum()


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """-w log p of the true class; label smoothing after Szegedy et al. 2016."""
    return functional.cross_entropy(logits, target, weight, label_smoothing=smoothing, reduction="none")


def focal(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """(1 - p)^2 times the cross-entropy: what is sure already counts little (Lin et al. 2017, their gamma of 2)."""
    return (1 - _true(logits, target)).square() * cross_entropy(logits, target, weight, smoothing)


def poly(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """The cross-entropy + w (1 - p): Poly-1 with epsilon 1 (Leng et al. 2022)."""
    own = weight[target.clamp(min=0)] * (target >= 0)
    return cross_entropy(logits, target, weight, smoothing) + own * (1 - _true(logits, target))


def _true(logits: Tensor, target: Tensor) -> Tensor:
    """(N,) probability of the true class."""
    return logits.softmax(1).gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)


# (N, C) logits, (N,) targets, (C,) weights and the label smoothing -> (N,) losses, 0 where there is no label
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "poly": poly,
}


@dataclass(frozen=True)
class Labels:
    """One of LOSSES, with class weights, over the labelled utterances that count."""

    weights: dict[str, Tensor]  # task -> (C,) class weights; a task without an entry is not learnt
    task_weights: TaskWeights
    smoothing: float
    loss: str
    # task -> (C,) added to the logits before the loss: tau log(class share), logit adjustment (Menon et al. 2021)
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
    ) -> "Labels":
        """Class weights and shares computed from the split, on its device."""
        device = split.present.device
        weights = {task: class_weights(split, task, power, counted).to(device) for task in split.heads()}
        shares = {task: frequency(split, task).clamp(min=1).to(device) for task in weights}
        adjustment = {task: tau * (count / count.sum()).log() for task, count in shares.items()}
        return cls(weights, task_weights, smoothing, loss, adjustment)

    def __call__(self, output: dict, batch: dict) -> dict[str, Tensor]:
        """The loss of each task, weighted."""
        return {
            task: getattr(self.task_weights, task) * self._loss(output[task], batch, task) for task in self.weights
        }

    def _loss(self, logits: Tensor, batch: dict, task: str) -> Tensor:
        adjusted = logits + self.adjustment[task]
        losses = LOSSES[self.loss](adjusted, batch[task], self.weights[task], self.smoothing)
        importance = (self.weights[task][batch[task].clamp(min=0)] * (batch[task] >= 0)).to(losses)
        count = batch.get("count", torch.ones_like(losses))
        return (losses * count).sum() / (importance * count).sum().clamp(min=1e-8)


@dataclass(frozen=True)
class Hide:
    """Modality dropout: hides modalities of utterances, or of whole dialogues, from the network.

    Each modality is hidden independently, as under the missing-rate conditions, so now and then all are and
    the network learns to answer from the context alone. Only `present` changes.
    """

    chance: float
    generator: torch.Generator
    warmup: float = 0.0  # share of the training in which the chance rises from 0 to its full value

    def __call__(self, batch: dict) -> Tensor:
        """(N, M): what of `present` is left."""
        present = batch["present"]
        risen = min(1.0, batch.get("done", 1.0) / self.warmup) if self.warmup else 1.0
        return present & (_drawn(batch, self.generator) >= self.chance * risen).to(present.device)


@dataclass(frozen=True)
class Noise:
    """Partial absence: modalities of utterances, or of whole dialogues, are heard through Gaussian noise.

    x' = x + s spread (sqrt(r) c + sqrt(1 - r) e): e anew for every step, as hiss, c the same throughout the
    utterance, as another microphone or light; s uniform in 0..LOUDEST, r in 0..1. Of the power of standardised
    features 1 / (1 + s^2) is then still signal.
    """

    chance: float
    generator: torch.Generator

    def __call__(self, network: nn.Module, batch: dict) -> tuple[dict, Tensor]:
        """The batch with noise, and (N, M) the share of each modality that is signal: 1 without noise."""
        if not self.chance:
            return batch, torch.ones_like(batch["present"], dtype=torch.float)
        drawn = _drawn(batch, self.generator).to(batch["present"].device)
        level = LOUDEST * (1 - drawn / self.chance).clamp(min=0)
        values = {
            stream: self._through(own, batch["rows"][stream], batch["steps"][stream], network.spread(stream), level)
            for stream, own, level in (
                (s, own, level[:, network.modalities.index(s.split("/")[0])]) for s, own in batch["values"].items()
            )
        }
        return {**batch, "values": values}, 1 / (1 + level.square())

    def _through(self, values: Tensor, rows: Tensor, steps: Tensor, spread: Tensor, level: Tensor) -> Tensor:
        """Packed steps (sum of steps, D), those of utterances with a level above 0 changed."""
        loud = level[rows]
        owner = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), steps)
        touched = (loud[owner] > 0).nonzero().squeeze(1)
        owner = owner[touched]
        lasting = torch.rand(len(rows), 1, generator=self.generator).to(values.device)[owner]
        whole = torch.randn(len(rows), values.shape[1], generator=self.generator).to(values.device)[owner]
        each = torch.randn(len(touched), values.shape[1], generator=self.generator).to(values.device)
        noise = (square_root(lasting) * whole + square_root(1 - lasting) * each) * spread * loud[owner].unsqueeze(1)
        return values.index_add(0, touched, noise)


def _drawn(batch: dict, generator: torch.Generator) -> Tensor:
    """(N, M) numbers in [0, 1), each for itself; in every other dialogue, at random, the utterances share one draw:
    a sensor that is missing or bad is mostly so throughout.
    """
    present, dialogue = batch["present"], batch["place"][:, 0].cpu()
    own = torch.rand(present.shape, generator=generator)
    common = torch.rand(int(dialogue[-1]) + 1, present.shape[1] + 1, generator=generator)[dialogue]
    return torch.where(common[:, :1] < 0.5, common[:, 1:], own)


@dataclass(frozen=True)
class Supervised:
    """The teacher's objective: the labels, some modalities hidden."""

    labels: Labels
    hide: Hide

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]:
        return self.labels(network(batch, self.hide(batch)), batch)

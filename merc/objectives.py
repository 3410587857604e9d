"""What training minimises: each objective names its parts, weighted; their sum is the loss."""

from dataclasses import dataclass
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from merc.batches import Split
from merc.params import Strict


class Objective(Protocol):
    """The weighted parts of the loss of one batch."""

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]: ...


class TaskWeights(Strict):
    """How much each task counts in the label loss."""

    emotion: float = Field(ge=0)
    sentiment: float = Field(ge=0)


def class_weights(split: Split, task: str, power: float) -> Tensor:
    """(C,) inverse class frequencies to a power, scaled so that the mean weight of an utterance is 1."""
    target = split.targets[task].cpu()
    frequency = torch.bincount(target[target >= 0], minlength=len(split.labels[task])).float()
    weights = frequency.clamp(min=1) ** -power
    return weights * frequency.sum() / (weights * frequency).sum()


@dataclass(frozen=True)
class Labels:
    """Cross-entropy with class weights and label smoothing, over the labelled utterances that count."""

    weights: dict[str, Tensor]  # task -> (C,) class weights; a task without an entry is not learnt
    task_weights: TaskWeights
    smoothing: float

    @classmethod
    def of(cls, split: Split, power: float, task_weights: TaskWeights, smoothing: float) -> "Labels":
        """Class weights computed from the split, on its device."""
        weights = {task: class_weights(split, task, power).to(split.present.device) for task in split.heads()}
        return cls(weights, task_weights, smoothing)

    def __call__(self, output: dict, batch: dict) -> dict[str, Tensor]:
        """The loss of each task, weighted."""
        return {
            task: getattr(self.task_weights, task) * self._loss(output[task], batch, task) for task in self.weights
        }

    def _loss(self, logits: Tensor, batch: dict, task: str) -> Tensor:
        losses = functional.cross_entropy(
            logits, batch[task], self.weights[task], label_smoothing=self.smoothing, reduction="none"
        )
        importance = (self.weights[task][batch[task].clamp(min=0)] * (batch[task] >= 0)).to(losses)
        count = batch.get("count", torch.ones_like(losses))
        return (losses * count).sum() / (importance * count).sum().clamp(min=1e-8)


@dataclass(frozen=True)
class Hide:
    """Modality dropout: hides modalities of utterances, or of whole dialogues, from the network.

    Each modality is hidden independently, as under the missing-rate conditions, so now and then all are and
    the network learns to answer from the context alone. In every other dialogue, at random, the utterances
    share one draw: a sensor that is missing is mostly missing throughout. Only `present` changes.
    """

    chance: float
    generator: torch.Generator

    def __call__(self, batch: dict) -> Tensor:
        """(N, M): what of `present` is left."""
        present, dialogue = batch["present"], batch["place"][:, 0].cpu()
        own = torch.rand(present.shape, generator=self.generator)
        common = torch.rand(int(dialogue[-1]) + 1, present.shape[1] + 1, generator=self.generator)[dialogue]
        drawn = torch.where(common[:, :1] < 0.5, common[:, 1:], own)
        return present & (drawn >= self.chance).to(present.device)


@dataclass(frozen=True)
class Supervised:
    """The teacher's objective: the labels, some modalities hidden."""

    labels: Labels
    hide: Hide

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]:
        return self.labels(network(batch, self.hide(batch)), batch)

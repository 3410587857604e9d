"""Fine-tuning one encoder on single utterances: what it is given, the heads above it, loss and dev scores."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc import manifest as manifests
from merc.augmentation import Heard, plain
from merc.encoders.card import Reader
from merc.encoders.encoder import Encoder, batches
from merc.label_fraction import EVERY, Labelled
from merc.labels import TASKS, LabelSpace
from merc.problem import Problem
from merc.scores import scores
from merc.tuning import on

CLASS_WEIGHT_POWER = 0.5  # of the inverse frequencies: between accuracy and macro F1
POOL = 8  # batches whose utterances are sorted by length together, so that padding is little


@dataclass(frozen=True)
class Utterances:
    """Labelled utterances that have the modality."""

    raw: list
    targets: dict[str, np.ndarray]  # task -> (N,) int64; UNLABELLED where there is none
    share: np.ndarray  # (N,) how often each is seen in an epoch, on average

    def __len__(self) -> int:
        return len(self.raw)

    def labelled(self, task: str) -> bool:
        """Whether any of them has a label of the task."""
        return bool((self.targets[task] >= 0).any())

    def classes(self, space: LabelSpace) -> dict[str, int]:
        """How many labels there are to each task that can be learnt."""
        if not self.labelled("emotion"):
            raise Problem("train: no utterance has the modality and an emotion that data.labels maps")
        return {task: len(getattr(space, task)) for task in TASKS if self.labelled(task)}


def read(
    split: str, share: dict[str, float], reader: Reader, space: LabelSpace, labelled: Labelled = EVERY
) -> Utterances:
    """The utterances of the corpora in `share` whose labels are known."""
    if not share:
        raise Problem("params.yaml: data.share: no corpus with a share uses this encoder; nothing to train on")
    rows = manifests.read(split, list(share))
    raw = [one for corpus in share for one in reader(manifests.folder(split, corpus), _of(rows, corpus))]
    targets = {task: space.indices(rows, task) for task in TASKS}
    known = np.any([target >= 0 for target in targets.values()], axis=0) & labelled.rows(rows)
    kept = np.flatnonzero(known & np.array([one is not None for one in raw], dtype=bool))
    return Utterances(
        raw=[raw[row] for row in kept],
        targets={task: target[kept] for task, target in targets.items()},
        share=rows["corpus"].map(share).to_numpy(float)[kept],
    )


class Probe(nn.Module):
    """Linear heads over the mean of an encoder's steps; each part of the encoder is judged on its own."""

    def __init__(self, encoder: Encoder, classes: dict[str, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.GroupNorm(encoder.parts, encoder.dim)  # of one part: LayerNorm
        self.heads = nn.ModuleDict({task: nn.Linear(encoder.dim, count) for task, count in classes.items()})

    def above(self) -> list[nn.Parameter]:
        """What is learnt from the beginning: all but the encoder's pretrained layers."""
        return [*self.norm.parameters(), *self.heads.parameters(), *self.encoder.above()]

    def forward(self, raw: Sequence) -> dict[str, Tensor]:
        """Logits (N, classes) of each task: the mean of what the parts say."""
        return {task: logits.mean(dim=0) for task, logits in self.each(raw).items()}

    def each(self, raw: Sequence) -> dict[str, Tensor]:
        """Logits (parts, N, classes) of each task."""
        device = self.norm.weight.device
        values, steps = self.encoder(on(device, self.encoder.prepare(raw)))
        steps = steps.to(device)
        real = (torch.arange(values.shape[1], device=device) < steps[:, None]).unsqueeze(2)
        mean = self.norm((values * real).sum(dim=1) / steps[:, None])
        slices = mean.unflatten(1, (self.encoder.parts, -1)).transpose(0, 1)
        return {task: _by_part(head, slices) for task, head in self.heads.items()}


def _by_part(head: nn.Linear, slices: Tensor) -> Tensor:
    """(parts, N, D) -> (parts, N, classes): to each part the head's weights of its slice."""
    weights = head.weight.unflatten(1, (len(slices), -1))  # (classes, parts, D)
    return slices @ weights.permute(1, 2, 0) + head.bias


class Epochs:
    """Batches of training utterances, in random order, as often as their shares say.

    `longest` is how much of an utterance is heard at once, in the encoder's unit: what is cut to it needs no
    sorting, and a batch of equal lengths is one of similar emotions.
    """

    def __init__(
        self, train: Utterances, encoder: Encoder, size: int, seed: int, longest: float = math.inf
    ) -> None:
        self.size, self.random, self.share = size, np.random.default_rng(seed), train.share
        self.lengths = np.array([min(encoder.size(one), longest) for one in train.raw])

    def __call__(self) -> list[np.ndarray]:
        """One epoch: the rows of each batch."""
        times = np.floor(self.share + self.random.random(len(self.share))).astype(int)
        if not times.any():  # an epoch of nothing would teach nothing
            times[self.random.choice(len(times), p=self.share / self.share.sum())] = 1
        order = self.random.permutation(np.repeat(np.arange(len(times)), times))
        pools = np.split(order, range(POOL * self.size, len(order), POOL * self.size))
        cut = [batch for pool in pools for batch in self._batches(pool)]
        return [cut[index] for index in self.random.permutation(len(cut))]

    def _batches(self, pool: np.ndarray) -> list[np.ndarray]:
        pool = pool[np.argsort(self.lengths[pool], kind="stable")]
        return np.split(pool, range(self.size, len(pool), self.size))


class Loss:
    """Cross-entropy of every head, classes weighted by a power of their inverse frequency.

    `change` is what is done to a batch before it is heard; what is two utterances at once has both their labels.
    """

    def __init__(
        self, probe: Probe, train: Utterances, smoothing: float = 0.0, change: Callable[[list], Heard] = plain
    ) -> None:
        self.probe, self.train, self.device = probe, train, probe.norm.weight.device
        self.smoothing, self.change = smoothing, change
        self.weights = {
            task: _class_weights(train.targets[task], head.out_features).to(self.device)
            for task, head in probe.heads.items()
        }

    def __call__(self, rows: np.ndarray) -> Tensor:
        heard = self.change([self.train.raw[row] for row in rows])
        said = self.probe.each(heard.raw)
        losses = [torch.stack([self._one(task, part, rows, heard) for part in said[task]]).mean() for task in said]
        return torch.stack(losses).sum()

    def _one(self, task: str, logits: Tensor, rows: np.ndarray, heard: Heard) -> Tensor:
        """The mean over labels, of which what is mixed has two, a share of each."""
        total, count = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for labelled, share in ((rows, heard.share), (rows[heard.other], 1 - heard.share)):
            target = torch.from_numpy(self.train.targets[task][labelled]).to(self.device)
            weight = torch.from_numpy(share).float().to(self.device)
            losses = functional.cross_entropy(
                logits, target, self.weights[task], reduction="none", label_smoothing=self.smoothing
            )
            total = total + (weight * losses).sum()
            count = count + (weight * (target >= 0)).sum()
        return total / count.clamp(min=1)


class Judge:
    """Scores a probe on dev."""

    def __init__(self, probe: Probe, dev: Utterances) -> None:
        if not dev.labelled("emotion"):
            raise Problem("dev: no utterance has an emotion; the best epoch cannot be chosen without")
        self.probe, self.dev = probe, dev
        self.batches = list(batches([probe.encoder.size(one) for one in dev.raw], probe.encoder.budget))

    def __call__(self) -> float:
        """What the best epoch is chosen by: the emotions' macro F1."""
        return self.scores()["emotion"]["macro_f1"]

    @torch.inference_mode()
    def scores(self) -> dict[str, dict[str, float]]:
        """Every headline score of every head."""
        predicted = {task: np.zeros(len(self.dev), np.int64) for task in self.probe.heads}
        for batch in self.batches:
            for task, logits in self.probe([self.dev.raw[row] for row in batch]).items():
                predicted[task][batch] = logits.argmax(dim=1).cpu().numpy()
        return {
            task: scores(self.dev.targets[task], found, self.probe.heads[task].out_features)
            for task, found in predicted.items()
        }


def _of(rows: pd.DataFrame, corpus: str) -> pd.DataFrame:
    return rows[rows["corpus"] == corpus]


def _class_weights(target: np.ndarray, classes: int) -> Tensor:
    """(C,), scaled so that the mean weight of an utterance is 1."""
    frequency = np.maximum(np.bincount(target[target >= 0], minlength=classes), 1)
    weights = frequency**-CLASS_WEIGHT_POWER
    return torch.from_numpy(weights * frequency.sum() / (weights * frequency).sum()).float()

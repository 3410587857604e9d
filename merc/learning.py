"""What the training stages share: the data, the dev score that selects, what they leave behind for all seeds."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from merc import batches, calibration, labels, manifest, packs, params, results, trained
from merc.batches import Split
from merc.device import device
from merc.engine import SCORE, Draws, History, Optimisation, answers, predict, standardise
from merc.objectives import Hide, Labels, Noise, TaskWeights
from merc.problem import Problem
from merc.sampling import SAMPLINGS, shares
from merc.scores import HEADLINE, scores

PRETRAINED = Path("out/pretrain")
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # of a corpus's dialogues that an epoch sees, on average


class Data(NamedTuple):
    """Which data is learnt from, as `data` in params.yaml says."""

    corpora: list[str]
    labels: str
    share: dict[str, float]
    modalities: list[str]

    @property
    def learnt(self) -> list[str]:
        """The corpora with a share: the others neither train nor select."""
        return [corpus for corpus in self.corpora if self.share[corpus] > 0]

    def read(self, split: str) -> Split:
        """The split of the corpora with a share, on the device."""
        return batches.read_split(split, self.learnt, self.modalities, labels.space(self.labels)).to(device())

    def files(self) -> list[Path]:
        """The files that `read` reads of train and dev."""
        own = [(split, corpus) for split in ("train", "dev") for corpus in self.learnt]
        manifests = [manifest.folder(split, corpus) / "manifest.parquet" for split, corpus in own]
        return [*manifests, *(packs.path(*one, modality) for one in own for modality in self.modalities)]


def data(modalities: list[str]) -> Data:
    """Read `data.corpora`, `data.labels` and `data.share`."""
    corpora = manifest.only(params.read("data.corpora", list[str]))
    share = params.read("data.share", dict[str, Share])
    if missing := [corpus for corpus in corpora if corpus not in share]:
        raise Problem(f"{params.FILE}: data.share.{missing[0]} is missing; 1.0 trains on it, 0 only evaluates")
    if not any(share[corpus] > 0 for corpus in corpora):
        raise Problem(f"{params.FILE}: data.share is 0 for every corpus in data.corpora; nothing to train on")
    return Data(corpora, params.read("data.labels", str), share, modalities)


class Supervision(Optimisation):
    """How labels are learnt: the teacher and the student each have their own values."""

    sampling: Literal["shuffled", "stratified", "weighted"]
    loss: Literal["cross_entropy", "focal", "poly"]
    class_counts: Literal["plain", "effective"]
    class_weight_power: float = Field(ge=0)
    logit_adjustment: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    modality_dropout: float = Field(ge=0, lt=1)
    modality_dropout_warmup: float = Field(ge=0, le=1)
    task_weights: TaskWeights

    def label_loss(self, train: Split) -> Labels:
        """The label loss, with class weights computed from the split."""
        return Labels.of(
            train,
            self.class_weight_power,
            self.task_weights,
            self.label_smoothing,
            counted=self.class_counts,
            loss=self.loss,
            tau=self.logit_adjustment,
        )


class Seed(NamedTuple):
    """All chance in training one seed: torch's own (weights, dropout), and this generator (order, hiding)."""

    number: int
    generator: torch.Generator

    @classmethod
    def plant(cls, number: int) -> "Seed":
        """Begin anew: what was trained before in this process has no influence."""
        torch.set_num_threads(1)
        torch.manual_seed(number)
        return cls(number, torch.Generator().manual_seed(number))

    def draws(
        self, train: Split, share: dict[str, float], sampling: str, size: int, *, unlabelled: bool = True
    ) -> Draws:
        """Epochs of batches; of all dialogues, or of those that have a label."""
        seen = shares(train, share, unlabelled=unlabelled)
        return partial(SAMPLINGS[sampling], train, seen, size, self.generator)

    def hide(self, chance: float, warmup: float) -> Hide:
        """Modality dropout."""
        return Hide(chance, self.generator, warmup)

    def noise(self, chance: float) -> Noise:
        """Noise on features."""
        return Noise(chance, self.generator)


def weights(*folders: Path) -> list[Path]:
    """The files below the folders that training starts from."""
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def start(seed: int, load: Callable[[Path], nn.Module], build: Callable[[], nn.Module], train: Split) -> nn.Module:
    """The seed's pretrained network; where pretraining is off, a new one that knows the split's statistics."""
    if not (PRETRAINED / "off.json").exists():
        return trained.network(load, PRETRAINED / f"seed-{seed}").to(device())
    network = build()
    standardise(network, train)
    return network.to(device())


class Outcome(NamedTuple):
    """What training one seed told."""

    best_epoch: int
    history: History
    scores: dict[str, dict[str, float]]  # task -> metric -> value, on dev


class EmotionScore:
    """Macro F1 of the emotions on dev with everything present, or the mean of that and of the mean over subsets."""

    def __init__(self, dev: Split, *, subsets: bool) -> None:
        if not (dev.targets["emotion"] >= 0).any():
            raise Problem("dev: no utterance has an emotion; the best epoch cannot be chosen without")
        self.dev, count = dev, len(dev.modalities)
        views = [torch.ones(count, dtype=torch.bool), *(subset_views(count) if subsets else [])]
        self.views = torch.stack(views).unsqueeze(1).expand(-1, len(dev), -1)  # (K, N, M), everything first

    def __call__(self, network: nn.Module) -> dict[str, float]:
        logits = answers(network, self.dev, self.views)["emotion"]
        full, *parts = [self._macro_f1(one) for one in logits]
        chosen = {SCORE: (full + float(np.mean(parts))) / 2 if parts else full}
        subset = {"dev_subsets_macro_f1": float(np.mean(parts))} if parts else {}
        return {"dev_loss": self._loss(logits[0]), "dev_macro_f1": full, **subset, **chosen}

    def _loss(self, logits: np.ndarray) -> float:
        return functional.cross_entropy(torch.from_numpy(logits), self.dev.targets["emotion"].cpu()).item()

    def _macro_f1(self, logits: np.ndarray) -> float:
        return scores(self.dev.targets["emotion"].cpu().numpy(), logits.argmax(1), logits.shape[1])["macro_f1"]


def subset_views(modalities: int) -> list[Tensor]:
    """(M,) masks of every non-empty proper subset of so many modalities."""
    chosen = [one for size in range(1, modalities) for one in combinations(range(modalities), size)]
    return [torch.isin(torch.arange(modalities), torch.tensor(one)) for one in chosen]


def finish(network: nn.Module, dev: Split, folder: Path) -> dict[str, dict[str, float]]:
    """Score a trained network on dev, and calibrate it there, with everything present."""
    logits = predict(network, dev)
    targets = {task: dev.targets[task].cpu().numpy() for task in logits}
    fitted = {task: calibration.fit(logits[task], targets[task]) for task in logits}
    results.write_json(folder / "calibration.json", fitted)
    return {task: scores(targets[task], one.argmax(1), one.shape[1]) for task, one in logits.items()}


def collect(stage: str, seeds: list[int], outcomes: list[Outcome]) -> None:
    """Write the stage's metrics and learning curves."""
    by_seed = dict(zip(seeds, outcomes, strict=True))
    means = {task: {name: _mean(by_seed.values(), task, name) for name in HEADLINE} for task in labels.TASKS}
    best = {seed: one.best_epoch for seed, one in by_seed.items()}
    macro = {seed: one.scores["emotion"]["macro_f1"] for seed, one in by_seed.items()}
    results.write_json(Path(f"metrics/{stage}.json"), means | {"best_epoch": best, "by_seed": macro})
    write_curves(stage, {seed: one.history for seed, one in by_seed.items()})


def write_curves(stage: str, histories: dict[int, History]) -> None:
    """plots/<stage>/learning.csv: a row per seed and epoch; of a stage that is off, the heading alone."""
    rows = [{"seed": seed, **row} for seed, history in histories.items() for row in history]
    path = Path(f"plots/{stage}/learning.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = None if rows else ["seed", "epoch", "train_loss", "dev_loss", SCORE]
    pd.DataFrame(rows, columns=columns).round(results.DECIMALS).to_csv(path, index=False)


def _mean(outcomes: Iterable[Outcome], task: str, name: str) -> float | None:
    values = [one.scores[task][name] for one in outcomes if task in one.scores]
    return float(np.mean(values)) if values else None

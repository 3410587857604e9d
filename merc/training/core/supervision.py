"""Shared by the training stages: data settings, seeding, initial weights, dev score, metrics over seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from merc.data.batches import dataset
from merc.data.batches.dataset import Split
from merc.data.batches.sampling import SAMPLERS, DrawnBatch, drawn_class_fractions, passes, sampling_shares
from merc.data.records import labels, manifest, packs
from merc.data.records.labels import LabelSpace, label_space
from merc.data.records.selection import METRICS, Selection
from merc.runtime import params, results
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.training.core import calibration, speaker_offsets, stage_checkpoints
from merc.training.core.loop import (
    SCORE,
    History,
    OptimisationConfig,
    predict,
    predict_views,
    standardise,
)
from merc.training.core.loop_config import MAX_COUNT
from merc.training.core.network import MultimodalNetwork
from merc.training.core.objectives import (
    DIRECT_LOSSES,
    FeatureNoise,
    LabelLoss,
    ModalityDropout,
    TaskWeights,
)
from merc.training.core.speaker_offsets import Speakers
from merc.training.core.task_scores import headline, scores_by_task

PRETRAINED = Path("out/pretrain")
NetworkT = TypeVar("NetworkT", bound=MultimodalNetwork)
CorpusShare = Annotated[
    float, Field(ge=0, allow_inf_nan=False)
]  # mean fraction of a corpus's dialogues in an epoch


class TrainingData(NamedTuple):
    """The training data, as section `data` of params.yaml names it."""

    corpora: list[str]
    labels: str
    share: dict[str, float]
    modalities: list[str]

    @property
    def space(self) -> LabelSpace:
        """The label space."""
        return label_space(self.labels)

    @property
    def trained_corpora(self) -> list[str]:
        """The corpora with a share above 0: the others are used neither to train nor to select an epoch."""
        return [corpus for corpus in self.corpora if self.share[corpus] > 0]

    def read(self, split: str) -> Split:
        """The split of the corpora with a share above 0, on the device."""
        return dataset.read_split(split, self.trained_corpora, self.modalities, self.space).to(select_device())

    def read_for_network(self, split: str) -> Split:
        """The split as networks take it: with the offsets of its speakers, if `pretrain` has fitted them."""
        return speaker_offsets.with_offsets(self.read(split), fitted_speakers())

    def files(self) -> list[Path]:
        """The files that `read` reads for train and dev."""
        parts = [(split, corpus) for split in ("train", "dev") for corpus in self.trained_corpora]
        manifests = [manifest.split_folder(split, corpus) / "manifest.parquet" for split, corpus in parts]
        own = [path for path in (labels.OWN_FOLDER / f"{self.labels}.yaml",) if path.exists()]
        return [
            *own,
            *manifests,
            *(packs.pack_path(*part, modality) for part in parts for modality in self.modalities),
        ]


def read_data(modalities: list[str]) -> TrainingData:
    """Read `data.corpora`, `data.labels` and `data.share`."""
    corpora = manifest.check_corpora(params.read("data.corpora", list[str]))
    share = params.read("data.share", dict[str, CorpusShare])
    if missing := [corpus for corpus in corpora if corpus not in share]:
        raise UserError(f"{params.FILE}: data.share.{missing[0]} is missing; 1.0 trains on it, 0 only evaluates")
    if not any(share[corpus] > 0 for corpus in corpora):
        raise UserError(f"{params.FILE}: data.share is 0 for every corpus in data.corpora; nothing to train on")
    return TrainingData(corpora, params.read("data.labels", str), share, modalities)


def fitted_speakers() -> Speakers:
    """What `pretrain` found of the speakers; {} if it was not asked to."""
    return speaker_offsets.load(PRETRAINED / speaker_offsets.FILE)


class SupervisionConfig(OptimisationConfig):
    """Settings of supervised training, with separate values for the teacher and the student."""

    epochs: int = Field(ge=1, le=MAX_COUNT)
    min_batches: int = Field(ge=1, le=MAX_COUNT)
    sampling: Literal["shuffled", "stratified", "weighted"]
    loss: Literal["cross_entropy", "focal", "poly"]
    class_counts: Literal["plain", "effective"]
    class_weight_power: float = Field(ge=0)
    logit_adjustment: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    modality_dropout: float = Field(ge=0, lt=1)
    modality_dropout_warmup: float = Field(ge=0, le=1)
    task_weights: TaskWeights

    def label_loss(self, train: Split) -> LabelLoss:
        """The label loss, with class weights computed from the split."""
        return LabelLoss.of(
            train,
            self.class_weight_power,
            self.task_weights,
            self.label_smoothing,
            counted=self.class_counts,
            loss=self.loss,
            tau=self.logit_adjustment,
        )


@dataclass(frozen=True)
class DialogueBatches:
    """Batches of whole dialogues of the training split, each shown in one of `ways`, drawn at random."""

    train: Split
    sampler: Callable[[], Iterable[DrawnBatch]]
    ways: Sequence[Split]
    generator: torch.Generator

    def draw(self) -> list[DrawnBatch]:
        """The dialogues of each batch of the next epoch."""
        return list(self.sampler())

    def build(self, drawn: DrawnBatch, progress: float) -> dict:
        """Collate the dialogues; `count` is how often each utterance was drawn."""
        way = int(torch.randint(len(self.ways), (), generator=self.generator)) if len(self.ways) > 1 else 0
        batch: dict[str, Any] = self.ways[way].batch(drawn.dialogues) | {"progress": progress}
        if drawn.count is not None:
            batch["count"] = drawn.count.to(batch["index"].device)
        return batch

    def describe(self, draws: Sequence[DrawnBatch]) -> dict[str, float]:
        """The fraction of each class among the labelled utterances drawn."""
        return drawn_class_fractions(self.train, draws)


class SeedRandomness(NamedTuple):
    """Randomness of one seed: torch's global state (weights, dropout) and a generator (order, hiding, noise)."""

    number: int
    generator: torch.Generator

    @classmethod
    def seed_all(cls, number: int) -> "SeedRandomness":
        """Reset the global random state, so that earlier trainings in the process have no influence."""
        torch.set_num_threads(1)
        torch.manual_seed(number)
        return cls(number, torch.Generator().manual_seed(number))

    def batches(
        self,
        train: Split,
        share: dict[str, float],
        sampling: str,
        size: int,
        *,
        min_batches: int = 1,
        unlabelled: bool = True,
        ways: Sequence[Split] = (),
    ) -> "DialogueBatches":
        """Batches of dialogues, from all or only from those with a label; at least so many in an epoch.

        `ways`: the split with more or less said of its speakers; by default `train` alone.
        """
        dialogue_shares = sampling_shares(train, share, unlabelled=unlabelled)
        dialogue_shares *= passes(dialogue_shares.sum().item(), size, min_batches)
        sampler = partial(SAMPLERS[sampling], train, dialogue_shares, size, self.generator)
        return DialogueBatches(train, sampler, ways or (train,), self.generator)

    def hide(self, rate: float, warmup: float) -> ModalityDropout:
        """Modality dropout at this rate."""
        return ModalityDropout(rate, self.generator, warmup)

    def noise(self, rate: float, loudest: float) -> FeatureNoise:
        """Gaussian noise on features at this rate, up to this level."""
        return FeatureNoise(rate, loudest, self.generator)


def weight_files(*folders: Path) -> list[Path]:
    """All files below the folders of pretrained weights, in a fixed order."""
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def initial_network(
    seed: int, load: Callable[[Path], NetworkT], build: Callable[[], NetworkT], train: Split
) -> NetworkT:
    """The seed's pretrained network or, where pretraining is off, a new one that standardises by the split.

    It never answers a class that the split does not show.
    """
    if (PRETRAINED / "off.json").exists():
        network = build()
        standardise(network, train)
    else:
        network = stage_checkpoints.load_network(load, PRETRAINED / f"seed-{seed}")
    if unseen := train.unseen():
        named = "; ".join(f"{task}: {', '.join(names)}" for task, names in unseen.items())
        print(f"train shows no utterance of {named}: never answered")
        network.mask_unseen(unseen)
    return network.to(select_device())


class SeedResult(NamedTuple):
    """The result of training one seed."""

    best_epoch: int
    history: History
    scores: dict[str, dict[str, float]]  # task -> metric -> value, on dev


class DevScore:
    """The selecting score on dev with all modalities; with `subsets`, averaged with the mean over their subsets."""

    def __init__(self, dev: Split, chosen: Selection, *, subsets: bool) -> None:
        if not dataset.is_labelled(dev.targets[chosen.task]).any():
            raise UserError(
                f"dev: no utterance has a label of {chosen.task}, by which train.select = {str(chosen)!r} chooses "
                "an epoch; choose by another task"
            )
        self.dev, self.chosen, num_modalities = dev, chosen, len(dev.modalities)
        self.task, self.target = dev.tasks[chosen.task], dev.targets[chosen.task].cpu()
        views = [torch.ones(num_modalities, dtype=torch.bool), *(subset_masks(num_modalities) if subsets else [])]
        self.views = torch.stack(views).unsqueeze(1).expand(-1, len(dev), -1)  # (K, N, M), all modalities first

    def __call__(self, network: MultimodalNetwork) -> dict[str, float]:
        outputs = predict_views(network, self.dev, self.views)
        if self.chosen.task not in outputs:
            raise UserError(
                f"train: no utterance has a label of {self.chosen.task}, by which train.select = "
                f"{str(self.chosen)!r} chooses an epoch; choose by another task"
            )
        full, *subsets = [self._metric(of_view) for of_view in outputs[self.chosen.task]]
        mean, metric = float(np.mean(subsets)) if subsets else full, self.chosen.metric
        score = {SCORE: selecting_score((full + mean) / 2 if subsets else full, self.chosen)}
        subset_mean = {f"dev_subsets_{metric}": mean} if subsets else {}
        return {"dev_loss": self._loss(outputs[self.chosen.task][0]), f"dev_{metric}": full, **subset_mean, **score}

    def _loss(self, outputs: np.ndarray) -> float:
        """The mean loss of the rows whose class can be answered."""
        values, target = torch.from_numpy(outputs), self.target
        if self.task.kind == "classification":
            likely = values.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1) > calibration.UNSEEN
            return functional.cross_entropy(values, torch.where(likely, target, labels.UNLABELLED)).item()
        losses = DIRECT_LOSSES[self.task.kind](values.clamp(min=calibration.UNSEEN), target, self.task, None)
        return (losses.sum() / dataset.is_labelled(target).sum()).item()

    def _metric(self, outputs: np.ndarray) -> float:
        return headline(self.task, self.target.numpy(), outputs)[self.chosen.metric]


def selecting_score(value: float, chosen: Selection) -> float:
    """Higher is better; a score that is not defined (a correlation of equal numbers) is the worst."""
    return float(np.nan_to_num(chosen.sign * value, nan=-1.0))


def subset_masks(modalities: int) -> list[Tensor]:
    """(M,) masks of every non-empty proper subset of the modalities."""
    subsets = [subset for size in range(1, modalities) for subset in combinations(range(modalities), size)]
    return [torch.isin(torch.arange(modalities), torch.tensor(subset)) for subset in subsets]


def calibrate_and_score(network: MultimodalNetwork, dev: Split, folder: Path) -> dict[str, dict[str, float]]:
    """Calibrate a trained network on dev with all modalities and return its dev scores by task."""
    outputs = predict(network, dev)
    targets = {task: dev.targets[task].cpu().numpy() for task in outputs}
    calibrations = {task: calibration.fit_task(dev.tasks[task], outputs[task], targets[task]) for task in outputs}
    results.write_json(folder / "calibration.json", calibrations)
    return scores_by_task(dev.tasks, targets, outputs)


def write_metrics(
    stage: str, seeds: list[int], outcomes: list[SeedResult], space: labels.LabelSpace, chosen: Selection
) -> None:
    """Write metrics/<stage>.json and the learning curves of all seeds."""
    by_seed = dict(zip(seeds, outcomes, strict=True))
    means = {
        name: {metric: _mean(by_seed.values(), name, metric) for metric in METRICS[task.kind]}
        for name, task in space.tasks.items()
    }
    best_epochs = {seed: outcome.best_epoch for seed, outcome in by_seed.items()}
    selecting = {seed: outcome.scores[chosen.task][chosen.metric] for seed, outcome in by_seed.items()}
    results.write_json(Path(f"metrics/{stage}.json"), means | {"best_epoch": best_epochs, "by_seed": selecting})
    write_learning_curves(stage, {seed: outcome.history for seed, outcome in by_seed.items()})


def write_learning_curves(stage: str, histories: dict[int, History]) -> None:
    """Write plots/<stage>/learning.csv: a row per seed and epoch; only the header if the stage is off."""
    rows = [{"seed": seed, **row} for seed, history in histories.items() for row in history]
    path = Path(f"plots/{stage}/learning.csv")
    columns = None if rows else ["seed", "epoch", "train_loss", "dev_loss", SCORE]
    results.write_csv(path, pd.DataFrame(rows, columns=columns).round(results.DECIMALS), float_format=None)


def _mean(outcomes: Iterable[SeedResult], task: str, metric: str) -> float | None:
    values = [outcome.scores[task][metric] for outcome in outcomes if task in outcome.scores]
    return float(np.mean(values)) if values else None

"""Pretrain without labels: what is usual of a speaker; and every seed's network, by epochs of self-supervision."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from merc.data.batches.dataset import Split
from merc.runtime import entry_point, params, results
from merc.runtime.device import select_device
from merc.training.core import loop, seeds, speaker_offsets, supervision
from merc.training.core.speaker_offsets import Speakers
from merc.training.pretrain.latent_space import LatentSpaceMetrics, measure_latent_space
from merc.training.pretrain.objectives import (
    PretrainedNetwork,
    PretrainScore,
    PretrainWeights,
    SelfSupervisedObjective,
)
from models import checkpoint
from models.network import Network, NetworkConfig

OUT = Path("out/pretrain")
WHEN = ("before", "after", "chance")


class PretrainConfig(loop.OptimisationConfig):
    """Section `pretrain` of params.yaml."""

    speakers: bool
    weights: PretrainWeights


class PretrainJob(NamedTuple):
    """The pretraining of one seed."""

    seed: int
    config: PretrainConfig
    model: NetworkConfig
    data: supervision.TrainingData
    speakers: Speakers


class PretrainResult(NamedTuple):
    """One seed's epochs, and its latent space on dev."""

    history: loop.History
    before: LatentSpaceMetrics
    after: LatentSpaceMetrics
    chance: LatentSpaceMetrics


def main() -> None:
    """Fit the speakers, and pretrain every seed, or write a marker with the reason why there are no epochs."""
    config, model = params.read("pretrain", PretrainConfig), params.read("model", NetworkConfig)
    numbers, data = params.read("train.seeds", seeds.Seeds), supervision.read_data(model.modalities)
    fitted = speaker_offsets.fit(data.read("train")) if config.speakers else {}
    shares = {stream: one.share for stream, one in fitted.items()}
    if reason := _off_reason(config, model):
        shutil.rmtree(OUT, ignore_errors=True)
        results.write_json(OUT / "off.json", {"off": reason})
        _report(numbers, [], shares)
    else:
        jobs = [PretrainJob(seed, config, model, data, fitted) for seed in numbers]
        inputs = [config.model_dump(), model.model_dump(), numbers, data]
        outcomes = seeds.train_seeds(OUT, jobs, pretrain, inputs, data.files())
        found = [PretrainResult(history, *map(LatentSpaceMetrics._make, spaces)) for history, *spaces in outcomes]
        _report(numbers, found, shares)
    if fitted:
        speaker_offsets.save(OUT / speaker_offsets.FILE, fitted)


def pretrain(job: PretrainJob, folder: Path, callback: loop.EpochCallback) -> PretrainResult:
    """Pretrain one seed's network and save it."""
    seed = supervision.SeedRandomness.seed_all(job.seed)
    train, dev = (speaker_offsets.with_offsets(job.data.read(name), job.speakers) for name in ("train", "dev"))
    network = Network(job.model, train.streams, train.heads(), train.kinds())
    loop.standardise(network, train)
    network.to(select_device())
    before, _ = measure_latent_space(network, dev)
    history = _train(job, network, train, dev, seed, callback)
    checkpoint.save(folder, network)
    after, chance = measure_latent_space(network, dev)
    return PretrainResult(history, before, after, chance)


def _train(
    job: PretrainJob,
    network: Network,
    train: Split,
    dev: Split,
    seed: supervision.SeedRandomness,
    callback: loop.EpochCallback,
) -> loop.History:
    """The epochs of self-supervision."""
    weights = job.config.weights
    trained = PretrainedNetwork(network, weights, job.model.fused, job.model.dim).to(select_device())
    objective = SelfSupervisedObjective(weights, seed.generator)
    batches = seed.batches(train, job.data.share, "shuffled", job.config.batch)
    parts = loop.modality_parts(network, job.config)
    if heads := list(trained.heads.parameters()):
        parts.append(loop.TrainablePart(heads, job.config.lr))
    return loop.fit(trained, objective, batches, PretrainScore(dev, objective), job.config, parts, [callback])


def _off_reason(config: PretrainConfig, model: NetworkConfig) -> str:
    """Why there are no epochs of self-supervision; empty if there are some."""
    if config.epochs and len(model.modalities) == 1:
        return "model.modalities names one modality: nothing to align it with"
    return "" if config.epochs else "pretrain.epochs is 0"


def _report(numbers: list[int], outcomes: list[PretrainResult], shares: dict[str, float]) -> None:
    """Write metrics and learning curves; no outcomes if there are no epochs."""
    by_seed = dict(zip(numbers, outcomes, strict=bool(outcomes)))
    spaces = {name: {when: _mean(outcomes, when, name) for when in WHEN} for name in LatentSpaceMetrics._fields}
    best = {seed: loop.best_epoch(by_seed[seed].history) if outcomes else None for seed in numbers}
    results.write_json(
        Path("metrics/pretrain.json"), spaces | {"speaker_share": shares or None, "best_epoch": best}
    )
    supervision.write_learning_curves("pretrain", {seed: outcome.history for seed, outcome in by_seed.items()})


def _mean(outcomes: list[PretrainResult], when: str, name: str) -> float | None:
    """Mean over the seeds; None if pretraining is off, NaN if dev does not allow the measure."""
    values = [getattr(getattr(outcome, when), name) for outcome in outcomes]
    return float(np.mean(values)) if values else None


if __name__ == "__main__":
    entry_point.run(main)

"""Pretrain every seed's network without labels: take out what tells speakers apart; epochs of self-supervision."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from merc.data.batches.dataset import Split
from merc.runtime import entry_point, params, results
from merc.runtime.device import select_device
from merc.training.core import loop, seeds, supervision
from merc.training.pretrain.latent_space import LatentSpaceMetrics, measure_latent_space
from merc.training.pretrain.objectives import (
    PretrainedNetwork,
    PretrainScore,
    PretrainWeights,
    SelfSupervisedObjective,
)
from merc.training.pretrain.speaker_directions import find_speaker_directions
from models import checkpoint
from models.network import Network, NetworkConfig

OUT = Path("out/pretrain")
WHEN = ("before", "after", "chance")


class PretrainConfig(loop.OptimisationConfig):
    """Section `pretrain` of params.yaml."""

    speaker_share: float = Field(gt=0, le=1)
    weights: PretrainWeights


class PretrainJob(NamedTuple):
    """The pretraining of one seed."""

    seed: int
    config: PretrainConfig
    model: NetworkConfig
    data: supervision.TrainingData


class PretrainResult(NamedTuple):
    """One seed's epochs, how many directions of each stream it took out, and its latent space on dev."""

    history: loop.History
    directions: dict[str, int]
    before: LatentSpaceMetrics
    after: LatentSpaceMetrics
    chance: LatentSpaceMetrics


def main() -> None:
    """Pretrain every seed, or write a marker with the reason why pretraining is off."""
    config, model = params.read("pretrain", PretrainConfig), params.read("model", NetworkConfig)
    numbers, data = params.read("train.seeds", seeds.Seeds), supervision.read_data(model.modalities)
    if reason := _off_reason(config, model):
        shutil.rmtree(OUT, ignore_errors=True)
        results.write_json(OUT / "off.json", {"off": reason})
        return _report(numbers, [])
    jobs = [PretrainJob(seed, config, model, data) for seed in numbers]
    inputs = [config.model_dump(), model.model_dump(), numbers, data]
    outcomes = seeds.train_seeds(OUT, jobs, pretrain, inputs, data.files())
    return _report(
        numbers,
        [
            PretrainResult(history, counts, *map(LatentSpaceMetrics._make, spaces))
            for history, counts, *spaces in outcomes
        ],
    )


def pretrain(job: PretrainJob, folder: Path, callback: loop.EpochCallback) -> PretrainResult:
    """Pretrain one seed's network and save it."""
    seed = supervision.SeedRandomness.seed_all(job.seed)
    train, dev = job.data.read("train"), job.data.read("dev")
    network = Network(job.model, train.streams, train.heads(), train.kinds())
    loop.standardise(network, train)
    network.to(select_device())
    before, _ = measure_latent_space(network, dev)
    if job.config.speaker_share < 1:
        for stream, directions in find_speaker_directions(network, train, job.config.speaker_share).items():
            network.take_out(stream, directions)
    history = _train(job, network, train, dev, seed, callback) if _has_epochs(job.config, job.model) else []
    checkpoint.save(folder, network)
    after, chance = measure_latent_space(network, dev)
    return PretrainResult(history, network.directions, before, after, chance)


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


def _has_epochs(config: PretrainConfig, model: NetworkConfig) -> bool:
    """Whether there is self-supervision by epochs: what it aligns needs two modalities."""
    return config.epochs > 0 and len(model.modalities) > 1


def _off_reason(config: PretrainConfig, model: NetworkConfig) -> str:
    """Why pretraining is off; empty if it is on."""
    if config.speaker_share < 1 or _has_epochs(config, model):
        return ""
    reason = (
        "model.modalities names one modality: nothing to align it with" if config.epochs else "pretrain.epochs is 0"
    )
    return f"pretrain.speaker_share is 1, and {reason}"


def _report(numbers: list[int], outcomes: list[PretrainResult]) -> None:
    """Write metrics and learning curves; no outcomes if pretraining is off."""
    by_seed = dict(zip(numbers, outcomes, strict=bool(outcomes)))
    spaces = {name: {when: _mean(outcomes, when, name) for when in WHEN} for name in LatentSpaceMetrics._fields}
    has_epochs = any(outcome.history for outcome in outcomes)
    best = {seed: loop.best_epoch(by_seed[seed].history) if has_epochs else None for seed in numbers}
    taken_out = {"speaker_directions": outcomes[0].directions if outcomes else None}
    results.write_json(Path("metrics/pretrain.json"), spaces | taken_out | {"best_epoch": best})
    supervision.write_learning_curves("pretrain", {seed: outcome.history for seed, outcome in by_seed.items()})


def _mean(outcomes: list[PretrainResult], when: str, name: str) -> float | None:
    """Mean over the seeds; None if pretraining is off, NaN if dev does not allow the measure."""
    values = [getattr(getattr(outcome, when), name) for outcome in outcomes]
    return float(np.mean(values)) if values else None


if __name__ == "__main__":
    entry_point.run(main)

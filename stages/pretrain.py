"""Self-supervision: align and reconstruct the modalities in the shared latent space, without labels, every seed."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from merc import engine, entry, learning, params, results, seeds
from merc.alignment import AlignmentScore, PretrainWeights, SelfSupervised
from merc.device import device
from merc.shared_space import Space, measure
from models import checkpoint
from models.network import Network, NetworkConfig

OUT = Path("out/pretrain")
WHEN = ("before", "after", "chance")


class PretrainConfig(engine.Optimisation):
    """Section `pretrain` of params.yaml."""

    epochs: int = Field(ge=0)
    weights: PretrainWeights


class Job(NamedTuple):
    """One seed."""

    seed: int
    config: PretrainConfig
    model: NetworkConfig
    data: learning.Data


class Told(NamedTuple):
    """What one seed told."""

    history: engine.History
    before: Space
    after: Space
    chance: Space


def main() -> None:
    """Pretrain every seed, or leave a marker that says why not."""
    config, model = params.read("pretrain", PretrainConfig), params.read("model", NetworkConfig)
    numbers, data = params.read("train.seeds", seeds.Seeds), learning.data(model.modalities)
    if reason := _off(config, model):
        shutil.rmtree(OUT, ignore_errors=True)
        results.write_json(OUT / "off.json", {"off": reason})
        return _report(numbers, [])
    jobs = [Job(seed, config, model, data) for seed in numbers]
    inputs = [config.model_dump(), model.model_dump(), numbers, data]
    told = seeds.learn(OUT, jobs, pretrain, inputs, data.files())
    return _report(numbers, [Told(history, *map(Space._make, spaces)) for history, *spaces in told])


def pretrain(job: Job, folder: Path, watch: engine.Watch) -> Told:
    """Train one seed and save its network."""
    seed = learning.Seed.plant(job.seed)
    train, dev = job.data.read("train"), job.data.read("dev")
    network = Network(job.model, train.streams, train.heads())
    engine.standardise(network, train)
    network.to(device())
    (before, _), objective = measure(network, dev), SelfSupervised(job.config.weights)
    draws = seed.draws(train, job.data.share, "shuffled", job.config.batch)
    history = engine.fit(network, objective, train, draws, AlignmentScore(dev, objective), job.config, [watch])
    checkpoint.save(folder, network)
    after, chance = measure(network, dev)
    return Told(history, before, after, chance)


def _off(config: PretrainConfig, model: NetworkConfig) -> str:
    if len(model.modalities) == 1:
        return "model.modalities names one modality: nothing to align it with"
    return "" if config.epochs else "pretrain.epochs is 0"


def _report(seeds: list[int], told: list[Told]) -> None:
    by_seed = dict(zip(seeds, told, strict=bool(told)))
    spaces = {name: {when: _mean(told, when, name) for when in WHEN} for name in Space._fields}
    best = {seed: engine.best_epoch(by_seed[seed].history) if told else None for seed in seeds}
    results.write_json(Path("metrics/pretrain.json"), spaces | {"best_epoch": best})
    learning.write_curves("pretrain", {seed: one.history for seed, one in by_seed.items()})


def _mean(told: list[Told], when: str, name: str) -> float | None:
    """Over the seeds; null where pretraining is off or dev cannot tell."""
    return float(np.mean([getattr(getattr(one, when), name) for one in told])) if told else None


if __name__ == "__main__":
    entry.run(main)

"""The teacher: the network learns from the labels, all modalities present, every seed."""

import shutil
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from merc import engine, entry, learning, params, work
from merc.objectives import Supervised
from models import checkpoint
from models.network import Network, NetworkConfig

OUT = Path("out/train")


class TrainConfig(learning.Supervision):
    """Section `train` of params.yaml."""

    seeds: list[int] = Field(min_length=1)


class Job(NamedTuple):
    """One seed."""

    seed: int
    config: TrainConfig
    model: NetworkConfig
    data: learning.Data


def main() -> None:
    """Train every seed."""
    config, model = params.read("train", TrainConfig), params.read("model", NetworkConfig)
    jobs = [Job(seed, config, model, learning.data(model.modalities)) for seed in config.seeds]
    shutil.rmtree(OUT, ignore_errors=True)
    learning.collect("train", config.seeds, work.run(jobs, teach, label="train"))


def teach(job: Job) -> learning.Outcome:
    """Train one seed and save its network and calibration."""
    seed, config = learning.Seed.plant(job.seed), job.config
    train, dev = job.data.read("train"), job.data.read("dev")
    network = learning.start(
        seed.number, checkpoint.load, lambda: Network(job.model, train.streams, train.heads()), train
    )
    objective = Supervised(config.label_loss(train), seed.hide(config.modality_dropout))
    draws = seed.draws(train, job.data.share, config.sampling, config.batch)
    history = engine.fit(network, objective, train, draws, learning.EmotionScore(dev, subsets=False), config)
    folder = OUT / f"seed-{job.seed}"
    checkpoint.save(folder, network)
    return learning.Outcome(engine.best_epoch(history), history, learning.finish(network, dev, folder))


if __name__ == "__main__":
    entry.run(main)

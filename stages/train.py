"""The teacher: the network learns from the labels, all modalities present, every seed."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from merc import engine, entry, label_fraction, learning, params, seeds
from merc.kept_epochs import KeptEpochs
from merc.label_fraction import Labelled
from merc.objectives import Supervised
from merc.sampling import drawn_shares
from models import checkpoint
from models.network import Network, NetworkConfig

OUT = Path("out/train")


class TrainConfig(learning.Supervision):
    """Section `train` of params.yaml."""

    seeds: seeds.Seeds


class Job(NamedTuple):
    """One seed."""

    seed: int
    config: TrainConfig
    model: NetworkConfig
    data: learning.Data
    fraction: float  # of the labels


def main() -> None:
    """Train every seed."""
    config, model = params.read("train", TrainConfig), params.read("model", NetworkConfig)
    data, fraction = learning.data(model.modalities), label_fraction.read()
    jobs = [Job(seed, config, model, data, fraction) for seed in config.seeds]
    inputs = [config.model_dump(), model.model_dump(), data, fraction]
    told = seeds.learn(OUT, jobs, teach, inputs, [*data.files(), *learning.weights(learning.PRETRAINED)])
    learning.collect("train", config.seeds, [learning.Outcome(*one) for one in told])


def teach(job: Job, folder: Path, watch: engine.Watch) -> learning.Outcome:
    """Train one seed and save its network and calibration; of the first seed, some epochs' weights too."""
    seed, config = learning.Seed.plant(job.seed), job.config
    train, dev = Labelled(job.fraction, job.seed).thin(job.data.read("train")), job.data.read("dev")
    network = learning.start(
        seed.number, checkpoint.load, lambda: Network(job.model, train.streams, train.heads()), train
    )
    objective = Supervised(
        config.label_loss(train), seed.hide(config.modality_dropout, config.modality_dropout_warmup)
    )
    draws = seed.draws(train, job.data.share, config.sampling, config.batch, unlabelled=False)
    score, watches = learning.EmotionScore(dev, subsets=False), [watch]
    if job.seed == config.seeds[0]:
        watches.append(KeptEpochs(folder / "epochs"))
    drawn = partial(drawn_shares, train)
    history = engine.fit(network, objective, train, draws, score, config, watches, drawn)
    checkpoint.save(folder, network)
    return learning.Outcome(engine.best_epoch(history), history, learning.finish(network, dev, folder))


if __name__ == "__main__":
    entry.run(main)

"""Train: the teacher network of every seed, supervised by the labels, with all modalities."""

from pathlib import Path
from typing import NamedTuple

from merc.data.batches import label_fraction
from merc.data.batches.label_fraction import LabelSubset
from merc.data.records import selection
from merc.runtime import entry_point, params
from merc.training.core import loop, seeds, speaker_offsets, supervision
from merc.training.core.epoch_callbacks import EpochSnapshots
from merc.training.core.objectives import SupervisedObjective
from models import checkpoint
from models.network import Network, NetworkConfig

OUT = Path("out/train")


class TrainConfig(supervision.SupervisionConfig):
    """Section `train` of params.yaml."""

    seeds: seeds.Seeds
    select: str


class TrainJob(NamedTuple):
    """The training of one seed's teacher."""

    seed: int
    config: TrainConfig
    model: NetworkConfig
    data: supervision.TrainingData
    chosen: selection.Selection
    fraction: float  # of the labels


def main() -> None:
    """Train the teacher of every seed."""
    config, model = params.read("train", TrainConfig), params.read("model", NetworkConfig)
    data, fraction = supervision.read_data(model.modalities), label_fraction.read()
    chosen = selection.selection(config.select, data.space)
    jobs = [TrainJob(seed, config, model, data, chosen, fraction) for seed in config.seeds]
    inputs = [config.model_dump(), model.model_dump(), data, fraction]
    outcomes = seeds.train_seeds(
        OUT, jobs, train_teacher, inputs, [*data.files(), *supervision.weight_files(supervision.PRETRAINED)]
    )
    supervision.write_metrics(
        "train", config.seeds, [supervision.SeedResult(*outcome) for outcome in outcomes], data.space, chosen
    )


def train_teacher(job: TrainJob, folder: Path, callback: loop.EpochCallback) -> supervision.SeedResult:
    """Train one seed's teacher, save it and its calibration; for the first seed, also some epochs' weights."""
    seed, config = supervision.SeedRandomness.seed_all(job.seed), job.config
    train, dev = (job.data.read_for_network(name) for name in ("train", "dev"))
    train = LabelSubset(job.fraction, job.seed).hide_labels(train)
    ways = speaker_offsets.ways_to_show(train, supervision.fitted_speakers())
    network = supervision.initial_network(
        seed.number, checkpoint.load, lambda: Network(job.model, train.streams, train.heads(), train.kinds()), train
    )
    objective = SupervisedObjective(
        config.label_loss(train), seed.hide(config.modality_dropout, config.modality_dropout_warmup)
    )
    batches = seed.batches(
        train,
        job.data.share,
        config.sampling,
        config.batch,
        min_batches=config.min_batches,
        unlabelled=False,
        ways=ways,
    )
    score, callbacks = supervision.DevScore(dev, job.chosen, subsets=False), [callback]
    if job.seed == config.seeds[0]:
        callbacks.append(EpochSnapshots(folder / "epochs", f"dev {job.chosen.metric}"))
    parts = loop.modality_parts(network, config)
    history = loop.fit(network, objective, batches, score, config, parts, callbacks)
    checkpoint.save(folder, network)
    return supervision.SeedResult(
        loop.best_epoch(history), history, supervision.calibrate_and_score(network, dev, folder)
    )


if __name__ == "__main__":
    entry_point.run(main)

"""The student: learns from the teacher with all modalities, then to answer like it from any subset; every seed."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import Field
from torch import nn

from merc import engine, entry, label_fraction, learning, params, seeds, trained
from merc.device import device
from merc.distillation import Distillation, DistillWeights, listen
from merc.label_fraction import Labelled
from merc.sampling import drawn_shares
from models import checkpoint
from models.network import Network, NetworkConfig

OUT, TEACHER = Path("out/distill"), Path("out/train")


class DistillConfig(learning.Supervision):
    """Section `distill` of params.yaml."""

    phase_epochs: int = Field(ge=0)
    noise: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    weights: DistillWeights

    def phases(self) -> list["Phase"]:
        """Each phase that has an epoch."""
        first = min(self.phase_epochs, self.epochs)
        both = [Phase(1, first, 0.0, 0.0), Phase(2, self.epochs - first, self.modality_dropout, self.noise)]
        return [phase for phase in both if phase.epochs]


class Phase(NamedTuple):
    """1: everything is seen. 2: a part, at random, and every part in turn."""

    number: int
    epochs: int
    hidden: float  # chance
    noise: float  # chance


class Job(NamedTuple):
    """One seed."""

    seed: int
    config: DistillConfig
    data: learning.Data
    fraction: float  # of the labels


def main() -> None:
    """Distil every seed."""
    config, model = params.read("distill", DistillConfig), params.read("model", NetworkConfig)
    numbers, data = params.read("train.seeds", seeds.Seeds), learning.data(model.modalities)
    fraction = label_fraction.read()
    jobs = [Job(seed, config, data, fraction) for seed in numbers]
    sources = [*data.files(), *learning.weights(learning.PRETRAINED, TEACHER)]
    told = seeds.learn(OUT, jobs, distil, [config.model_dump(), numbers, data, fraction], sources)
    learning.collect("distill", numbers, [learning.Outcome(*one) for one in told])


def distil(job: Job, folder: Path, watch: engine.Watch) -> learning.Outcome:
    """Distil one seed's teacher, into a student that starts where it did; save the student and its calibration."""
    seed, config = learning.Seed.plant(job.seed), job.config
    train, dev = Labelled(job.fraction, job.seed).thin(job.data.read("train")), job.data.read("dev")
    teacher = trained.network(checkpoint.load, TEACHER / f"seed-{job.seed}").to(device())
    student = learning.start(
        seed.number, checkpoint.load, lambda: Network(teacher.config, train.streams, train.heads()), train
    )
    told = listen(teacher, train)
    draws = seed.draws(train, job.data.share, config.sampling, config.batch)
    history: engine.History = []
    for phase in config.phases():
        before, parts = len(history), phase.number == 2
        objective = Distillation(
            told,
            config.label_loss(train),
            seed.hide(phase.hidden, config.modality_dropout_warmup),
            seed.noise(phase.noise),
            config.temperature,
            config.weights,
            subsets=parts,
        )
        score = learning.EmotionScore(dev, subsets=parts)
        section, later = config.model_copy(update={"epochs": phase.epochs}), partial(_later, before, watch)
        drawn = partial(drawn_shares, train)
        rows = engine.fit(student, objective, train, draws, score, section, [later], drawn)
        best = before + engine.best_epoch(rows)
        history += [{"phase": phase.number, **row, "epoch": before + row["epoch"]} for row in rows]
    checkpoint.save(folder, student)
    return learning.Outcome(best, history, learning.finish(student, dev, folder))


def _later(before: int, watch: engine.Watch, row: dict[str, float], network: nn.Module) -> None:
    """Show an epoch under its number among those of both phases."""
    watch(row | {"epoch": before + row["epoch"]}, network)


if __name__ == "__main__":
    entry.run(main)

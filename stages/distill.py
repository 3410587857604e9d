"""Distill: train each seed's student on its teacher, first with all modalities, then with any subset of them.

What the students learnt from also says how typical an utterance is, once for all seeds. What is usual of a speaker
is kept beside it, for whoever asks a student.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from merc.data.batches import label_fraction
from merc.data.batches.dataset import Split
from merc.data.batches.label_fraction import LabelSubset
from merc.data.records.selection import Selection, selection
from merc.runtime import entry_point, params, results
from merc.runtime.device import select_device
from merc.training.core import loop, seeds, speaker_offsets, stage_checkpoints, supervision, typicality
from merc.training.core.loop_config import MAX_COUNT
from merc.training.core.network import MultimodalNetwork
from merc.training.distill.distillation_loss import (
    DistillationObjective,
    DistillWeights,
    compute_teacher_outputs,
    trusted_rows,
)
from merc.training.distill.subset_prior import fit_subset_offsets
from models import checkpoint
from models.network import Network, NetworkConfig

OUT, TEACHER = Path("out/distill"), Path("out/train")


class DistillConfig(supervision.SupervisionConfig):
    """Section `distill` of params.yaml."""

    phase_epochs: int = Field(ge=0, le=MAX_COUNT)
    noise: float = Field(ge=0, le=1)
    loudest_noise: float = Field(ge=0)
    temperature: float = Field(gt=0)
    weights: DistillWeights
    unlabelled: Literal["all", "sure", "none"]
    subset_prior: float = Field(ge=0, le=1)

    def phases(self) -> list["Phase"]:
        """The phases with at least one epoch."""
        first = min(self.phase_epochs, self.epochs)
        both = [Phase(1, first, 0.0, 0.0), Phase(2, self.epochs - first, self.modality_dropout, self.noise)]
        return [phase for phase in both if phase.epochs]


class Phase(NamedTuple):
    """1: all modalities. 2: random modality dropout and noise, and each subset of modalities in turn."""

    number: int
    epochs: int
    modality_dropout: float  # probability
    noise: float  # probability


class DistillJob(NamedTuple):
    """The training of one seed's student."""

    seed: int
    config: DistillConfig
    data: supervision.TrainingData
    chosen: Selection
    fraction: float  # of the labels


def main() -> None:
    """Train the student of every seed, and write the typicality of its features."""
    config, model = params.read("distill", DistillConfig), params.read("model", NetworkConfig)
    numbers, data = params.read("train.seeds", seeds.Seeds), supervision.read_data(model.modalities)
    fraction, chosen = label_fraction.read(), selection(params.read("train.select", str), data.space)
    jobs = [DistillJob(seed, config, data, chosen, fraction) for seed in numbers]
    sources = [*data.files(), *supervision.weight_files(supervision.PRETRAINED, TEACHER)]
    outcomes = seeds.train_seeds(OUT, jobs, distil, [config.model_dump(), numbers, data, chosen, fraction], sources)
    typicality.save(OUT / typicality.FILE, typicality.fit(data.read("train"), data.read("dev")))
    if (speakers := supervision.PRETRAINED / speaker_offsets.FILE).is_file():
        shutil.copyfile(speakers, OUT / speaker_offsets.FILE)
    supervision.write_metrics(
        "distill", numbers, [supervision.SeedResult(*outcome) for outcome in outcomes], data.space, chosen
    )


def distil(job: DistillJob, folder: Path, callback: loop.EpochCallback) -> supervision.SeedResult:
    """Distil one seed's teacher into a student with the teacher's initial weights; save it and its calibration."""
    seed, config = supervision.SeedRandomness.seed_all(job.seed), job.config
    train, dev = (job.data.read_for_network(name) for name in ("train", "dev"))
    train = LabelSubset(job.fraction, job.seed).hide_labels(train)
    ways = speaker_offsets.ways_to_show(train, supervision.fitted_speakers())
    teacher = stage_checkpoints.load_network(checkpoint.load, TEACHER / f"seed-{job.seed}").to(select_device())
    student = supervision.initial_network(
        seed.number,
        checkpoint.load,
        lambda: Network(teacher.config, train.streams, train.heads(), train.kinds()),
        train,
    )
    teacher_outputs = compute_teacher_outputs(teacher, train)
    trusted = _trusted_rows(job, train, teacher_outputs)
    least = config.min_batches
    batches = seed.batches(train, job.data.share, config.sampling, config.batch, min_batches=least, ways=ways)
    parts = loop.modality_parts(student, config)
    history: loop.History = []
    best = 0  # replaced: there is a phase, because there is an epoch
    for phase in config.phases():
        num_earlier, has_subsets = len(history), phase.number == 2
        objective = DistillationObjective(
            teacher_outputs,
            config.label_loss(train),
            seed.hide(phase.modality_dropout, config.modality_dropout_warmup),
            seed.noise(phase.noise, config.loudest_noise),
            config.temperature,
            config.weights,
            subsets=has_subsets,
            trusted=trusted,
        )
        score = supervision.DevScore(dev, job.chosen, subsets=has_subsets)
        phase_config = config.model_copy(update={"epochs": phase.epochs})
        phase_callback = partial(_call_in_phase, num_earlier, callback)
        rows = loop.fit(student, objective, batches, score, phase_config, parts, [phase_callback])
        best = num_earlier + loop.best_epoch(rows)
        history += [{"phase": phase.number, **row, "epoch": num_earlier + row["epoch"]} for row in rows]
    if config.subset_prior:
        student.offsets.fill(fit_subset_offsets(student, train, config.subset_prior, seed.generator))
    checkpoint.save(folder, student)
    return supervision.SeedResult(best, history, supervision.calibrate_and_score(student, dev, folder))


def _trusted_rows(job: DistillJob, train: Split, teacher_outputs: dict[str, Tensor]) -> Tensor | None:
    """(N,) the rows of train whose soft answers are learnt from; None for all."""
    task = train.lead()
    if job.config.unlabelled == "all" or not task:
        return None
    calibrated = results.read_json(TEACHER / f"seed-{job.seed}" / "calibration.json")[task]
    return trusted_rows(job.config.unlabelled, task, train, teacher_outputs[task], calibrated)


def _call_in_phase(
    num_earlier: int, callback: loop.EpochCallback, row: dict[str, float], network: MultimodalNetwork
) -> None:
    """Call the callback with the epoch's number counted over both phases."""
    callback(row | {"epoch": num_earlier + row["epoch"]}, network)


if __name__ == "__main__":
    entry_point.run(main)

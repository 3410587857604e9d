"""The only scorer of the test split: teacher and student of every seed, under every condition. Fits nothing."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from merc import (
    conditions,
    corruptions,
    entry,
    intervals,
    labels,
    manifest,
    params,
    predictions,
    protocol,
    results,
    scoring,
    selection,
    trained,
    work,
)
from merc.batches import Split, read_split
from merc.device import device
from merc.evaluation import Answers, EvaluateConfig, ask, collect, join
from merc.labels import LabelSpace
from merc.predictions import Key, Predictions
from merc.problem import Problem
from models import checkpoint

MODELS = {"teacher": Path("out/train"), "student": Path("out/distill")}
MASKS = scoring.OUT / "masks"


class Job(NamedTuple):
    """One network, and what it is asked besides the conditions that all are asked."""

    key: Key  # its condition is still open
    folder: Path
    damaged: Mapping[str, Split]
    epochs: Mapping[str, str]  # condition -> file of weights

    def keys(self, shared: Mapping[str, np.ndarray]) -> list[Key]:
        """Whose answers the blocks of `answer` are."""
        return [self.key._replace(condition=name) for name in (*shared, *self.damaged, *self.epochs)]


def main() -> None:
    """Refuse what would mean nothing, predict once, and compute every score from the predictions."""
    corpora = manifest.only(params.read("data.corpora", list[str]))
    space = labels.space(params.read("data.labels", str))
    seeds, config = params.read("train.seeds", list[int]), params.read("evaluate", EvaluateConfig)
    splits = {split: manifest.read(split, corpora) for split in manifest.SPLITS}
    protocol.separate(splits)
    folders = {Key(model, seed, ""): MODELS[model] / f"seed-{seed}" for model in MODELS for seed in seeds}
    modalities = trained.network(checkpoint.load, next(iter(folders.values()))).modalities
    split = read_split("test", corpora, modalities, space)
    protocol.no_telling_dimensions(split)
    damaged = {name: corruptions.corrupted(split, name, config.mask_seed) for name in config.corruptions}
    damaged = {name: other for name, other in damaged.items() if other is not None}
    found = _predict(split, damaged, space, folders, config)
    for place in (scoring.OUT, scoring.PLOTS):
        shutil.rmtree(place, ignore_errors=True)
    predictions.write(predictions.FILE, found)
    _write_masks(split, config)
    draws = intervals.draw(found.groups()[1], len(seeds), config.rounds, config.bootstrap_seed)
    scoring.write(found, space, splits, draws)


def _predict(
    split: Split,
    damaged: Mapping[str, Split],
    space: LabelSpace,
    folders: Mapping[Key, Path],
    config: EvaluateConfig,
) -> Predictions:
    names = config.conditions(split.modalities)
    masks = {name: conditions.present(name, split.manifest, split.modalities, config.mask_seed) for name in names}
    first = next(iter(folders)).seed
    jobs = [
        Job(key, folder, damaged if key.seed == first else {}, selection.kept(folder))
        for key, folder in folders.items()
    ]
    answers = work.run(jobs, partial(answer, split, masks), label="evaluate")
    if failures := [one.reason for one in answers if isinstance(one, work.Failed)]:
        raise Problem(f"evaluate: {failures[0]}; lower compute.workers if memory ran out")
    return collect(split.manifest, space, [job.keys(masks) for job in jobs], answers)


def answer(split: Split, masks: Mapping[str, np.ndarray], job: Job) -> Answers:
    """One network's answers; a job of its own process."""
    network = trained.network(checkpoint.load, job.folder, device())
    protocol.same_order(job.folder, network.labels, split.labels)
    calibrated = results.read_json(job.folder / "calibration.json")
    full, here = {conditions.FULL: masks[conditions.FULL]}, split.to(device())
    blocks = [ask(network, here, masks, calibrated)]
    blocks += [ask(network, other.to(device()), full, calibrated) for other in job.damaged.values()]
    for weights in job.epochs.values():
        early = trained.network(checkpoint.load, job.folder, device(), weights=weights)
        blocks.append(ask(early, here, full, calibrated))
    return join(blocks)


def _write_masks(split: Split, config: EvaluateConfig) -> None:
    MASKS.mkdir(parents=True, exist_ok=True)
    for corpus, rows in split.manifest.groupby("corpus", sort=False):
        table = conditions.masks(rows, split.modalities, config.mask_seed, config.repeats)
        pq.write_table(table, MASKS / f"{corpus}.parquet")


if __name__ == "__main__":
    entry.run(main)

"""Evaluate: score every seed's teacher and student, and a floor, on the test split under every condition.

The floor alone is fitted here: on train, chosen on dev, before it sees the test split. Conditions whose name begins
with `typical` leave out the modalities that are unlike what was learnt (merc/training/core/typicality.py).
"""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from merc.data.batches import label_fraction
from merc.data.batches.dataset import Split, read_split
from merc.data.records import labels, manifest
from merc.data.records.labels import LabelSpace
from merc.data.records.selection import selection
from merc.evaluation import (
    bootstrap,
    corruptions,
    findings,
    floor,
    left_out,
    missing_modalities,
    predictions,
    protocol,
    selection_gap,
)
from merc.evaluation.inference import EvaluateConfig, collect_predictions, predict_conditions
from merc.evaluation.prediction_arrays import PredictionArrays, PredictionFiles, join_blocks, join_rows
from merc.evaluation.predictions import BlockKey, Predictions
from merc.evaluation.report import result_files
from merc.runtime import entry_point, params, results, workers
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.training.core import speaker_offsets, stage_checkpoints, supervision, typicality
from models import checkpoint

MODELS = {"teacher": Path("out/train"), "student": Path("out/distill")}
MASKS = result_files.OUT / "masks"


class EvaluateJob(NamedTuple):
    """One network, with the conditions that it alone is evaluated under."""

    key: BlockKey  # with an empty condition
    first_block: int  # of the blocks that it fills
    folder: Path
    damaged: tuple[str, ...]  # conditions that are corrupted test splits
    epochs: Mapping[str, str]  # condition -> file of weights

    @property
    def scores_dev(self) -> bool:
        """Whether it is asked about dev, too: the student, whose dev and test scores are compared."""
        return self.key.model == findings.STUDENT

    def keys(self, shared: Mapping[str, np.ndarray]) -> list[BlockKey]:
        """The keys of the blocks that `predict_job` fills."""
        return [self.key._replace(condition=name) for name in (*shared, *self.damaged, *self.epochs)]


def main() -> None:
    """Check the protocol, predict once, and compute every score from the predictions."""
    corpora = manifest.check_corpora(params.read("data.corpora", list[str]))
    space = labels.label_space(params.read("data.labels", str))
    seeds, config = params.read("train.seeds", list[int]), params.read("evaluate", EvaluateConfig)
    chosen = selection(params.read("train.select", str), space)
    splits = {split: manifest.read_manifests(split, corpora) for split in manifest.SPLITS}
    protocol.check_splits(splits)
    folders = {BlockKey(model, seed, ""): MODELS[model] / f"seed-{seed}" for model in MODELS for seed in seeds}
    modalities = stage_checkpoints.load_network(checkpoint.load, next(iter(folders.values()))).modalities
    split = read_split("test", corpora, modalities, space)
    protocol.check_features(split)
    damaged = {name: corruptions.corrupt(split, name, config.mask_seed) for name in config.corruptions}
    damaged = {name: corrupted for name, corrupted in damaged.items() if corrupted is not None}
    train, dev = (read_split(name, _trained(corpora), modalities, space) for name in ("train", "dev"))
    conditions = config.conditions(split.modalities)
    masks = missing_modalities.condition_masks(conditions, split.manifest, split.modalities, config.mask_seed)
    fitted = typicality.load(MODELS[findings.STUDENT] / typicality.FILE)
    kept = {
        name: typicality.kept(fitted, each) for name, each in {missing_modalities.FULL: split, **damaged}.items()
    }
    lost = {name: left_out.shares(split, of_rule) for name, of_rule in kept.items()}
    masks[left_out.CONDITION] = kept[missing_modalities.FULL]
    damaged |= {left_out.condition(name): each.without(~kept[name]) for name, each in damaged.items()}
    speakers = speaker_offsets.load(MODELS[findings.STUDENT] / speaker_offsets.FILE)
    split, train, dev = (speaker_offsets.with_offsets(each, speakers) for each in (split, train, dev))
    damaged = {name: speaker_offsets.with_offsets(each, speakers) for name, each in damaged.items()}
    fits = floor.fit_seeds(train, dev, label_fraction.read(), seeds)
    with TemporaryDirectory(dir=result_files.OUT.parent) as folder:
        predicted, dev_predictions = _predict(Path(folder), split, dev, damaged, masks, space, folders, fits)
        for folder in (result_files.OUT, result_files.PLOTS):
            shutil.rmtree(folder, ignore_errors=True)
        predictions.write_predictions(predictions.PREDICTIONS_FILE, predicted)
        _write_masks(split, config)
        draws = bootstrap.draw(predicted.groups()[1], len(seeds), config.rounds, config.bootstrap_seed)
        found = findings.find(predicted, dev_predictions, draws, _trained(corpora))
        described = floor.describe([*fits.values()], split)
        remarks = result_files.Remarks(found, described, lost)
        result_files.write_results(predicted, space, splits, draws, remarks, chosen)


def _trained(corpora: list[str]) -> list[str]:
    share = params.read("data.share", dict[str, supervision.CorpusShare])
    return [corpus for corpus in corpora if share.get(corpus, 0) > 0]


def _predict(
    home: Path,
    split: Split,
    dev: Split,
    damaged: Mapping[str, Split],
    masks: Mapping[str, np.ndarray],
    space: LabelSpace,
    folders: Mapping[BlockKey, Path],
    fits: Mapping[int, floor.Floor],
) -> tuple[Predictions, Predictions]:
    """The networks' and the floors' predictions of the test split, and the student's of dev; arrays in `home`."""
    first_seed, jobs, keys = next(iter(fits)), [], []
    for key, folder in folders.items():
        own = tuple(damaged) if key.seed == first_seed else ()
        jobs.append(EvaluateJob(key, len(keys), folder, own, selection_gap.kept_epochs(folder)))
        keys += jobs[-1].keys(masks)
    floor_blocks = {}
    for seed in fits:
        floor_blocks[seed] = len(keys)
        keys += [BlockKey(floor.NAME, seed, name) for name in (*masks, *(damaged if seed == first_seed else ()))]
    files = PredictionFiles.create(home, space.tasks.values(), len(keys), len(split))
    predict, on_gpu = partial(predict_job, files, split, dev, damaged, masks), select_device().type == "cuda"
    outcomes = workers.run(jobs, predict, label="evaluate", accelerator=on_gpu)
    if failures := [outcome.reason for outcome in outcomes if isinstance(outcome, workers.JobFailure)]:
        raise UserError(f"evaluate: {failures[0]}; lower compute.workers if memory ran out")
    answers = [outcome for outcome in outcomes if not isinstance(outcome, workers.JobFailure)]
    full = {missing_modalities.FULL: masks[missing_modalities.FULL]}
    for seed, first in floor_blocks.items():
        files.write(first, floor.predict(fits[seed], split, masks))
        for number, each in enumerate(damaged.values() if seed == first_seed else ()):
            files.write(first + len(masks) + number, floor.predict(fits[seed], each, full))
    answered = [*(tasks for tasks, _ in answers), *(set(model.tasks) for model in fits.values())]
    predicted = collect_predictions(split.manifest, space, keys, files.read(set.intersection(*answered)))
    of_dev = {
        job.key._replace(condition=missing_modalities.FULL): block
        for job, (_, block) in zip(jobs, answers, strict=True)
        if block
    }
    return predicted, collect_predictions(dev.manifest, space, [*of_dev], join_blocks([*of_dev.values()]))


def predict_job(
    files: PredictionFiles,
    split: Split,
    dev: Split,
    damaged: Mapping[str, Split],
    masks: Mapping[str, np.ndarray],
    job: EvaluateJob,
) -> tuple[set[str], PredictionArrays]:
    """Predict with one network under all its conditions, in a worker process, into the files.

    Returns the tasks that it answers, and its predictions of dev or {}.
    """
    network = stage_checkpoints.load_network(checkpoint.load, job.folder, select_device())
    protocol.check_label_orders(job.folder, network.labels, split.labels)
    calibrated = results.read_json(job.folder / "calibration.json")
    full, split = {missing_modalities.FULL: masks[missing_modalities.FULL]}, split.to(select_device())
    files.write(job.first_block, predict_conditions(network, split, masks, calibrated))
    others = [(network, damaged[name].to(select_device())) for name in job.damaged]
    others += [
        (stage_checkpoints.load_network(checkpoint.load, job.folder, select_device(), weights=weights), split)
        for weights in job.epochs.values()
    ]
    for number, (asked, shown) in enumerate(others, job.first_block + len(masks)):
        files.write(number, predict_conditions(asked, shown, full, calibrated))
    all_of_dev = {missing_modalities.FULL: np.ones((len(dev), len(dev.modalities)), dtype=bool)}
    of_dev = predict_conditions(network, dev.to(select_device()), all_of_dev, calibrated) if job.scores_dev else ()
    return set(network.labels), join_rows(of_dev)


def _write_masks(split: Split, config: EvaluateConfig) -> None:
    MASKS.mkdir(parents=True, exist_ok=True)
    for corpus, rows in split.manifest.groupby("corpus", sort=False):
        table = missing_modalities.mask_table(rows, split.modalities, config.mask_seed, config.repeats)
        pq.write_table(table, MASKS / f"{corpus}.parquet")


if __name__ == "__main__":
    entry_point.run(main)

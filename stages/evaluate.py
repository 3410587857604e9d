"""Evaluate: score every seed's teacher and student, and a floor, on the test split under every condition.

The floor alone is fitted here: on train, chosen on dev, before it sees the test split. Conditions whose name begins
with `typical` leave out the modalities that are unlike what was learnt (merc/training/core/typicality.py).
"""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
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
from merc.evaluation.inference import (
    EvaluateConfig,
    PredictionArrays,
    collect_predictions,
    concatenate_blocks,
    predict_conditions,
)
from merc.evaluation.predictions import BlockKey, Predictions
from merc.evaluation.report import result_files
from merc.runtime import entry_point, params, results, workers
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.training.core import stage_checkpoints, supervision, typicality
from models import checkpoint

MODELS = {"teacher": Path("out/train"), "student": Path("out/distill")}
MASKS = result_files.OUT / "masks"


class EvaluateJob(NamedTuple):
    """One network, with the conditions that it alone is evaluated under."""

    key: BlockKey  # with an empty condition
    folder: Path
    damaged: Mapping[str, Split]  # condition -> corrupted test split
    epochs: Mapping[str, str]  # condition -> file of weights

    @property
    def scores_dev(self) -> bool:
        """Whether it is asked about dev, too: the student, whose dev and test scores are compared."""
        return self.key.model == findings.STUDENT

    def keys(self, shared: Mapping[str, np.ndarray]) -> list[BlockKey]:
        """The keys of the blocks that `predict_job` returns."""
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
    masks = {
        name: missing_modalities.condition_mask(name, split.manifest, split.modalities, config.mask_seed)
        for name in config.conditions(split.modalities)
    }
    fitted = typicality.load(MODELS[findings.STUDENT] / typicality.FILE)
    kept = {
        name: typicality.kept(fitted, each) for name, each in {missing_modalities.FULL: split, **damaged}.items()
    }
    lost = {name: left_out.shares(split, of_rule) for name, of_rule in kept.items()}
    masks[left_out.CONDITION] = kept[missing_modalities.FULL]
    damaged |= {left_out.condition(name): each.without(~kept[name]) for name, each in damaged.items()}
    fits = floor.fit_seeds(train, dev, label_fraction.read(), seeds)
    keys, blocks, dev_predictions = _predict(split, dev, damaged, masks, space, folders)
    for seed, model in fits.items():
        own = damaged if seed == seeds[0] else {}
        keys.append([BlockKey(floor.NAME, seed, name) for name in (*masks, *own)])
        blocks.append(floor.predict(model, split, own, masks))
    predicted = collect_predictions(split.manifest, space, keys, blocks)
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
    split: Split,
    dev: Split,
    damaged: Mapping[str, Split],
    masks: Mapping[str, np.ndarray],
    space: LabelSpace,
    folders: Mapping[BlockKey, Path],
) -> tuple[list[list[BlockKey]], list[PredictionArrays], Predictions]:
    """The networks' keys and predictions of the test split, and the student's predictions of dev."""
    first_seed = next(iter(folders)).seed
    jobs = [
        EvaluateJob(key, folder, damaged if key.seed == first_seed else {}, selection_gap.kept_epochs(folder))
        for key, folder in folders.items()
    ]
    outcomes = workers.run(jobs, partial(predict_job, split, dev, masks), label="evaluate")
    if failures := [outcome.reason for outcome in outcomes if isinstance(outcome, workers.JobFailure)]:
        raise UserError(f"evaluate: {failures[0]}; lower compute.workers if memory ran out")
    blocks = [outcome for outcome in outcomes if not isinstance(outcome, workers.JobFailure)]
    of_dev = [
        (job.key._replace(condition=missing_modalities.FULL), block)
        for job, (_, block) in zip(jobs, blocks, strict=True)
        if block
    ]
    dev_predictions = collect_predictions(
        dev.manifest, space, [[key] for key, _ in of_dev], [block for _, block in of_dev]
    )
    return [job.keys(masks) for job in jobs], [block for block, _ in blocks], dev_predictions


def predict_job(
    split: Split, dev: Split, masks: Mapping[str, np.ndarray], job: EvaluateJob
) -> tuple[PredictionArrays, PredictionArrays]:
    """Predict with one network under all its conditions, in a worker process; then dev, or nothing ({})."""
    network = stage_checkpoints.load_network(checkpoint.load, job.folder, select_device())
    protocol.check_label_orders(job.folder, network.labels, split.labels)
    calibrated = results.read_json(job.folder / "calibration.json")
    full, split = {missing_modalities.FULL: masks[missing_modalities.FULL]}, split.to(select_device())
    blocks = [predict_conditions(network, split, masks, calibrated)]
    blocks += [
        predict_conditions(network, corrupted.to(select_device()), full, calibrated)
        for corrupted in job.damaged.values()
    ]
    for weights in job.epochs.values():
        epoch_network = stage_checkpoints.load_network(
            checkpoint.load, job.folder, select_device(), weights=weights
        )
        blocks.append(predict_conditions(epoch_network, split, full, calibrated))
    all_of_dev = {missing_modalities.FULL: np.ones((len(dev), len(dev.modalities)), dtype=bool)}
    of_dev = predict_conditions(network, dev.to(select_device()), all_of_dev, calibrated) if job.scores_dev else {}
    return concatenate_blocks(blocks), of_dev


def _write_masks(split: Split, config: EvaluateConfig) -> None:
    MASKS.mkdir(parents=True, exist_ok=True)
    for corpus, rows in split.manifest.groupby("corpus", sort=False):
        table = missing_modalities.mask_table(rows, split.modalities, config.mask_seed, config.repeats)
        pq.write_table(table, MASKS / f"{corpus}.parquet")


if __name__ == "__main__":
    entry_point.run(main)

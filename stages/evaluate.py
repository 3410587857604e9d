"""Evaluate: score every seed's teacher and student on the test split, under every condition. Fits nothing."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from merc.data.batches.dataset import Split, read_split
from merc.data.records import labels, manifest
from merc.data.records.labels import LabelSpace
from merc.evaluation import bootstrap, corruptions, missing_modalities, predictions, protocol, selection_gap
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
from merc.training.core import stage_checkpoints
from models import checkpoint

MODELS = {"teacher": Path("out/train"), "student": Path("out/distill")}
MASKS = result_files.OUT / "masks"


class EvaluateJob(NamedTuple):
    """One network, with the conditions that it alone is evaluated under."""

    key: BlockKey  # with an empty condition
    folder: Path
    damaged: Mapping[str, Split]  # condition -> corrupted test split
    epochs: Mapping[str, str]  # condition -> file of weights

    def keys(self, shared: Mapping[str, np.ndarray]) -> list[BlockKey]:
        """The keys of the blocks that `predict_job` returns."""
        return [self.key._replace(condition=name) for name in (*shared, *self.damaged, *self.epochs)]


def main() -> None:
    """Check the protocol, predict once, and compute every score from the predictions."""
    corpora = manifest.check_corpora(params.read("data.corpora", list[str]))
    space = labels.label_space(params.read("data.labels", str))
    seeds, config = params.read("train.seeds", list[int]), params.read("evaluate", EvaluateConfig)
    splits = {split: manifest.read_manifests(split, corpora) for split in manifest.SPLITS}
    protocol.check_splits(splits)
    folders = {BlockKey(model, seed, ""): MODELS[model] / f"seed-{seed}" for model in MODELS for seed in seeds}
    modalities = stage_checkpoints.load_network(checkpoint.load, next(iter(folders.values()))).modalities
    split = read_split("test", corpora, modalities, space)
    protocol.check_features(split)
    damaged = {name: corruptions.corrupt(split, name, config.mask_seed) for name in config.corruptions}
    damaged = {name: corrupted for name, corrupted in damaged.items() if corrupted is not None}
    predicted = _predict(split, damaged, space, folders, config)
    for folder in (result_files.OUT, result_files.PLOTS):
        shutil.rmtree(folder, ignore_errors=True)
    predictions.write_predictions(predictions.PREDICTIONS_FILE, predicted)
    _write_masks(split, config)
    draws = bootstrap.draw(predicted.groups()[1], len(seeds), config.rounds, config.bootstrap_seed)
    result_files.write_results(predicted, space, splits, draws)


def _predict(
    split: Split,
    damaged: Mapping[str, Split],
    space: LabelSpace,
    folders: Mapping[BlockKey, Path],
    config: EvaluateConfig,
) -> Predictions:
    names = config.conditions(split.modalities)
    masks = {
        name: missing_modalities.condition_mask(name, split.manifest, split.modalities, config.mask_seed)
        for name in names
    }
    first_seed = next(iter(folders)).seed
    jobs = [
        EvaluateJob(key, folder, damaged if key.seed == first_seed else {}, selection_gap.kept_epochs(folder))
        for key, folder in folders.items()
    ]
    blocks = workers.run(jobs, partial(predict_job, split, masks), label="evaluate")
    if failures := [block.reason for block in blocks if isinstance(block, workers.JobFailure)]:
        raise UserError(f"evaluate: {failures[0]}; lower compute.workers if memory ran out")
    predicted = [block for block in blocks if not isinstance(block, workers.JobFailure)]
    return collect_predictions(split.manifest, space, [job.keys(masks) for job in jobs], predicted)


def predict_job(split: Split, masks: Mapping[str, np.ndarray], job: EvaluateJob) -> PredictionArrays:
    """Predict with one network under all its conditions, in a worker process."""
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
    return concatenate_blocks(blocks)


def _write_masks(split: Split, config: EvaluateConfig) -> None:
    MASKS.mkdir(parents=True, exist_ok=True)
    for corpus, rows in split.manifest.groupby("corpus", sort=False):
        table = missing_modalities.mask_table(rows, split.modalities, config.mask_seed, config.repeats)
        pq.write_table(table, MASKS / f"{corpus}.parquet")


if __name__ == "__main__":
    entry_point.run(main)

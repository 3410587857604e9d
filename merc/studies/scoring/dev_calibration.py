"""Calibration of a system's probabilities on its own dev predictions, as evaluate's networks are calibrated."""

from dataclasses import replace

import numpy as np

from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.reliability import MIN_PROBABILITY
from merc.runtime.errors import UserError
from merc.studies.scoring.prediction_files import SystemPredictions
from merc.training.core import calibration


def calibrate(system: SystemPredictions, dev: SystemPredictions) -> SystemPredictions:
    """With calibrated probabilities and conformal sets for the tasks in which both files have probabilities."""
    tasks = [task for task, kind in system.kinds.items() if kind == dev.kinds.get(task) == "probabilities"]
    outputs = system.predictions.outputs | {task: _calibrated(system, dev, task) for task in tasks}
    return replace(system, predictions=replace(system.predictions, outputs=outputs))


def _calibrated(system: SystemPredictions, dev: SystemPredictions, task: str) -> dict[str, np.ndarray]:
    test = system.predictions
    raw = test.outputs[task]["raw"]
    fits = _fits(dev, task)
    probability, members = np.empty_like(raw), np.empty(raw.shape, dtype=bool)
    for block, key in enumerate(test.keys):
        if key.seed not in fits:
            raise UserError(f"--dev: has no seed {key.seed}; a seed is calibrated on its own dev predictions")
        probability[block] = calibration.apply(_logits(raw[block]), fits[key.seed])
        members[block] = calibration.label_sets(probability[block], fits[key.seed])
    return {"raw": raw, "probability": probability, "set": members}


def _fits(dev: SystemPredictions, task: str) -> dict[int, dict[str, float]]:
    """{seed: temperature and threshold}."""
    predictions: Predictions = dev.predictions
    actual = predictions.actual(task)
    blocks = {key.seed: number for number, key in enumerate(predictions.keys) if key.condition == FULL}
    return {
        seed: calibration.fit(_logits(predictions.outputs[task]["raw"][block]), actual)
        for seed, block in blocks.items()
    }


def _logits(probability: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probability, MIN_PROBABILITY))

"""Calibration of a system's probabilities on its own dev predictions, as evaluate's networks are calibrated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.reliability import MIN_PROBABILITY
from merc.runtime.errors import UserError
from merc.studies.scoring.prediction_files import SystemPredictions
from merc.training.core import calibration


def calibrate(system: SystemPredictions, dev: SystemPredictions) -> SystemPredictions:
    """With calibrated probabilities and conformal sets of the condition full, where both files have probabilities.

    The other conditions are scored by their most probable label, which no temperature changes.
    """
    predictions = system.predictions
    full = [number for number, key in enumerate(predictions.keys) if key.condition == FULL]
    keys = tuple(predictions.keys[number] for number in full)
    outputs = {
        task: {part: values[full] for part, values in parts.items()} for task, parts in predictions.outputs.items()
    }
    for task, kind in system.kinds.items():
        if kind == dev.kinds.get(task) == "probabilities":
            outputs[task] |= _calibrated(outputs[task]["raw"], [key.seed for key in keys], _fits(dev, task))
    return replace(system, calibrated=replace(predictions, keys=keys, outputs=outputs))


def _calibrated(
    raw: np.ndarray, seeds: Sequence[int], fits: Mapping[int, dict[str, float]]
) -> dict[str, np.ndarray]:
    """{part: (S, N, C)} of raw probabilities, a block a seed."""
    if unfitted := [seed for seed in seeds if seed not in fits]:
        raise UserError(f"--dev: has no seed {unfitted[0]}; a seed is calibrated on its own dev predictions")
    blocks = list(zip(raw, seeds, strict=True))
    probability = np.stack([calibration.apply(_logits(block), fits[seed]) for block, seed in blocks])
    pairs = zip(probability, seeds, strict=True)
    members = np.stack([calibration.label_sets(block, fits[seed]) for block, seed in pairs])
    return {"probability": probability, "set": members}


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

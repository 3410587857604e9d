"""Calibration of a system's answers on its own dev predictions, as evaluate's networks are calibrated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from merc.data.records.labels import Task
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.reliability import MIN_PROBABILITY
from merc.runtime.errors import UserError
from merc.studies.scoring.prediction_files import SystemPredictions
from merc.training.core import calibration
from merc.training.core.calibration import Calibration

FITTED = "fitted"  # part of a multilabel task, which marks that its probabilities are calibrated


def calibrate(system: SystemPredictions, dev: SystemPredictions) -> SystemPredictions:
    """With calibrated probabilities, conformal sets and intervals of the condition full, where both files can.

    The other conditions are scored by their answers, which no calibration changes.
    """
    predictions = system.predictions
    full = [number for number, key in enumerate(predictions.keys) if key.condition == FULL]
    keys = tuple(predictions.keys[number] for number in full)
    outputs = {
        name: {part: values[full] for part, values in parts.items()} for name, parts in predictions.outputs.items()
    }
    for name, kind in system.kinds.items():
        if kind == dev.kinds.get(name) and kind in ("probabilities", "numbers"):
            task = predictions.task(name)
            outputs[name] |= _calibrated(task, outputs[name], [key.seed for key in keys], _fits(dev, task))
    return replace(system, calibrated=replace(predictions, keys=keys, outputs=outputs))


def _calibrated(
    task: Task, parts: Mapping[str, np.ndarray], seeds: Sequence[int], fits: Mapping[int, Calibration]
) -> dict[str, np.ndarray]:
    """{part: (S, N, C)} of a task's parts, a block a seed."""
    if unfitted := [seed for seed in seeds if seed not in fits]:
        raise UserError(f"--dev: has no seed {unfitted[0]}; a seed is calibrated on its own dev predictions")
    if task.kind == "regression":
        pairs = zip(parts["value"], seeds, strict=True)
        return {"interval": np.stack([calibration.intervals(one[:, 0], fits[seed], task) for one, seed in pairs])}
    pairs = zip(parts["raw"], seeds, strict=True)
    probability = np.stack([calibration.apply(_logits(task, block), fits[seed]) for block, seed in pairs])
    if task.kind == "multilabel":
        return {"probability": probability, FITTED: np.ones_like(probability, dtype=bool)}
    pairs = zip(probability, seeds, strict=True)
    return {
        "probability": probability,
        "set": np.stack([calibration.label_sets(block, fits[seed]) for block, seed in pairs]),
    }


def _fits(dev: SystemPredictions, task: Task) -> dict[int, Calibration]:
    """{seed: what was fitted on its dev predictions}."""
    predictions: Predictions = dev.predictions
    parts, actual = predictions.outputs[task.name], predictions.actual(task.name)
    blocks = {key.seed: number for number, key in enumerate(predictions.keys) if key.condition == FULL}
    return {
        seed: calibration.fit_task(
            task, parts["value"][block] if task.kind == "regression" else _logits(task, parts["raw"][block]), actual
        )
        for seed, block in blocks.items()
    }


def _logits(task: Task, probability: np.ndarray) -> np.ndarray:
    logits = np.log(np.maximum(probability, MIN_PROBABILITY))
    return logits - np.log(np.maximum(1 - probability, MIN_PROBABILITY)) if task.kind == "multilabel" else logits

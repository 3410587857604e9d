"""Asking trained networks about a split under every condition: where predictions come from."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from merc import calibration, conditions
from merc.batches import Split
from merc.engine import answers
from merc.labels import TASKS, LabelSpace
from merc.params import Strict
from merc.predictions import PARTS, PROBABILITY_DECIMALS, ROW, Key, Predictions

Answers = dict[str, dict[str, np.ndarray]]  # task -> part -> (K, N, C)


class EvaluateConfig(Strict):
    """Section `evaluate` of params.yaml."""

    mask_seed: int
    rates: list[float]
    repeats: int = Field(ge=1)
    uneven: list[dict[str, float]]
    corruptions: list[str]
    rounds: int = Field(ge=1)
    bootstrap_seed: int = Field(ge=0)

    def conditions(self, modalities: Sequence[str]) -> list[str]:
        """Names of all conditions for a network of these modalities."""
        known = [{m: rate for m, rate in each.items() if m in modalities} for each in self.uneven]
        return conditions.names(modalities, self.rates, [each for each in known if each], self.repeats)


def ask(network: torch.nn.Module, split: Split, masks: Mapping[str, np.ndarray], calibrated: dict) -> Answers:
    """{task: {part: (K, N, C)}} answers under each of the K masks (N, M); a task without a head is left out."""
    logits = answers(network, split, torch.from_numpy(np.stack(list(masks.values()))))
    return {task: _parts(logits[task], calibrated[task]) for task in TASKS if task in logits}


def _parts(logits: np.ndarray, calibrated: dict[str, float]) -> dict[str, np.ndarray]:
    """Probabilities before and after calibration, and the conformal sets; (K, N, C) each."""
    probability = calibration.apply(logits, calibrated)
    members = calibration.members(probability, calibrated)
    raw = torch.from_numpy(logits).softmax(-1).numpy()
    return dict(zip(PARTS, (_rounded(raw), _rounded(probability), members), strict=True))


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.round(PROBABILITY_DECIMALS).astype(np.float32)


def join(blocks: Sequence[Answers]) -> Answers:
    """Blocks of answers, one after another; a task that one of them lacks is left out."""
    tasks = [task for task in TASKS if all(task in one for one in blocks)]
    return {task: {part: np.concatenate([one[task][part] for one in blocks]) for part in PARTS} for task in tasks}


def collect(
    manifest: pd.DataFrame, space: LabelSpace, keys: Sequence[Sequence[Key]], blocks: Sequence[Answers]
) -> Predictions:
    """Every network's answers, one after another, beside the rows and their labels."""
    rows = manifest[list(ROW)].copy()
    for task in TASKS:
        order = getattr(space, task)
        rows[task] = [order[number] if number >= 0 else None for number in space.indices(manifest, task)]
    orders = {task: tuple(getattr(space, task)) for task in TASKS}
    return Predictions(rows, orders, tuple(key for own in keys for key in own), join(blocks))

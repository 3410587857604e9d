"""Inference of the evaluation: runs trained networks on a split under every condition, and collects predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, cast

import numpy as np
import pandas as pd
import torch
from pydantic import AfterValidator, Field

from merc.data.batches.dataset import Split
from merc.data.records.labels import LabelSpace, Task
from merc.evaluation import missing_modalities
from merc.evaluation.corruptions import check_name
from merc.evaluation.prediction_arrays import PARTS, PredictionArrays
from merc.evaluation.predictions import ID_COLUMNS, PROBABILITY_DECIMALS, BlockKey, Predictions
from merc.runtime.params import Seed, StrictModel
from merc.training.core import calibration
from merc.training.core.loop import iterate_views
from merc.training.core.network import MultimodalNetwork
from merc.training.core.task_scores import task_scores

Rate = Annotated[float, Field(ge=0, le=1)]  # the chance that a modality of an utterance is missing


class EvaluateConfig(StrictModel):
    """Section `evaluate` of params.yaml."""

    mask_seed: Seed
    rates: list[Rate]
    repeats: int = Field(ge=1, le=1000)
    uneven: list[Annotated[dict[Literal["text", "audio", "vision"], Rate], Field(min_length=1)]]
    corruptions: list[Annotated[str, AfterValidator(check_name)]]
    rounds: int = Field(ge=1, le=1_000_000)
    bootstrap_seed: Seed

    def conditions(self, modalities: Sequence[str]) -> list[str]:
        """The names of all conditions for a network with these modalities."""
        uneven = [{m: rate for m, rate in rates.items() if m in modalities} for rates in self.uneven]
        return missing_modalities.condition_names(
            modalities, self.rates, [rates for rates in uneven if rates], self.repeats
        )


def predict_conditions(
    network: MultimodalNetwork, split: Split, masks: Mapping[str, np.ndarray], calibrated: dict
) -> Iterator[tuple[slice, PredictionArrays]]:
    """Predict under each of the K masks (N, M), a batch of rows at a time; tasks without a head are left out."""
    for rows, outputs in iterate_views(network, split, torch.from_numpy(np.stack(list(masks.values())))):
        by_task = {
            name: prediction_parts(outputs[name], calibrated[name], task)
            for name, task in split.tasks.items()
            if name in outputs
        }
        yield rows, by_task


def prediction_parts(outputs: np.ndarray, calibrated: calibration.Calibration, task: Task) -> dict[str, np.ndarray]:
    """The parts (K, N, C) of a task's answers: PARTS_OF its kind.

    Probabilities before and after calibration, and membership in the conformal set, or in the answer if multilabel;
    or a number within its range, and its interval.
    """
    if task.kind == "regression":
        values = outputs.clip(task.low, task.high)
        interval = calibration.intervals(values[..., 0], calibrated, task)
        return {"value": _rounded(values), "interval": _rounded(interval)}
    probability = calibration.apply(outputs, calibrated)
    if task.kind == "multilabel":
        raw, members = calibration.sigmoid(outputs), task_scores(task).answers(outputs)
    else:
        raw, members = (
            torch.from_numpy(outputs).softmax(-1).numpy(),
            calibration.label_sets(probability, calibrated),
        )
    return dict(zip(PARTS, (_rounded(raw), _rounded(probability), members), strict=True))


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.round(PROBABILITY_DECIMALS).astype(np.float32)


def collect_predictions(
    manifest: pd.DataFrame, space: LabelSpace, keys: Sequence[BlockKey], outputs: PredictionArrays
) -> Predictions:
    """Combine the blocks, named by the keys, with the manifest's rows and labels."""
    rows = cast("pd.DataFrame", manifest[list(ID_COLUMNS)].copy())
    for name, task in space.tasks.items():
        rows[name] = pd.Series(task.cells(task.targets(manifest)), rows.index, dtype=object)
    votes = {name: task.distributions(manifest) for name, task in space.tasks.items()}
    return Predictions(
        rows,
        space.outputs,
        tuple(keys),
        outputs,
        {n: (task.kind, task.low, task.high) for n, task in space.tasks.items() if task.kind != "classification"},
        {name: shares for name, shares in votes.items() if shares is not None},
    )

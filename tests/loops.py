"""Settings of a training loop, batches that are the same in every epoch, and what TensorBoard reads of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merc.encoders.lipsync.clip_inputs import LipSyncClip
from merc.training.core import loop
from merc.training.core.loop_config import LoopConfig
from merc.training.lipsync.lipsync_training import SegmentBatches, SynchronisationScore, synchronisation_objective
from models.lipsync import Synchrony

SETTINGS = {
    "epochs": 4, "patience": 100, "lr": 0.1, "optimiser": "adamw", "schedule": "cosine", "warmup": 0.1,
    "weight_decay": 0.01, "clip": 1.0, "average": 0.0, "batch": 1, "accumulate": 1, "precision": "float32",
}  # fmt: skip


def config(**changes) -> LoopConfig:
    return LoopConfig.model_validate(SETTINGS | changes)


class FixedBatches:
    """These batches in every epoch; `progress` of each that was built is kept."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches, self.built = batches, []

    def draw(self) -> Sequence[Any]:
        return self.batches

    def build(self, drawn: Any, progress: float) -> Any:
        self.built.append((drawn, progress))
        return drawn

    def describe(self, draws: Sequence[Any]) -> dict[str, float]:
        return {}


def synchronise(
    network: Synchrony, train: Sequence[LipSyncClip], dev: Sequence[LipSyncClip], **changes: Any
) -> list[float]:
    """Train the lip-sync network as its stage does; returns the dev loss of every epoch."""
    settings = config(**changes)
    batches, score = SegmentBatches(train, settings.batch, seed=1), SynchronisationScore(dev or train)
    history = loop.fit(network, synchronisation_objective, batches, score, settings)
    return [row["dev_loss"] for row in history]


def logged(stage: str) -> dict[str, list[float]]:
    """By name of the metric: its values in the epochs of the stage's latest run, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(max((Path("out/runs") / stage).iterdir())))
    events.Reload()
    return {tag: [point.value for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}

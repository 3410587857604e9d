"""python -m bench.train: seconds an epoch in batches of dialogues, against the same network at batch size 1.

Processor seconds of one thread: those of the clock where nobody else is at work, and less disturbed elsewhere.
"""

import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch

from merc.data.batches.dataset import Split
from merc.data.batches.streams import FeatureStream
from merc.data.records import labels
from merc.data.records.manifest import MODALITIES
from merc.runtime import results
from merc.training.core import loop, objectives, supervision
from models.network import Network, NetworkConfig

UTTERANCES, DIALOGUES = 9989, 1038  # MELD's training split
STEPS = {"text": 12, "audio": 20, "vision": 8}
WIDTHS = {"text": 384, "audio": 88, "vision": 512}
BATCH = 64  # dialogues
SHARE = 0.2  # of an epoch that is timed at batch size 1: about as long as a whole one in batches
ROUNDS = 5  # both sides by turns, so that a machine that is slower for a while is so for both


def main(*words: str) -> None:
    """Time one fusion (default: esag and crossmodal) and write metrics/bench/train.json."""
    torch.set_num_threads(1)
    fusions = words or ("esag", "crossmodal")
    results.write_json(Path("metrics/bench/train.json"), {fusion: _compare(fusion) for fusion in fusions})


def _compare(fusion: str) -> dict[str, float]:
    split = synthetic(UTTERANCES, DIALOGUES)
    _seconds(fusion, split, BATCH, SHARE)  # what is paid once a process
    rounds = [
        (_seconds(fusion, split, BATCH, 1.0), _seconds(fusion, split, 1, SHARE) / SHARE) for _ in range(ROUNDS)
    ]
    together, alone = (median(side) for side in zip(*rounds, strict=True))
    ratio = median(one / many for many, one in rounds)
    measured = {"epoch_seconds": together, "epoch_seconds_batch1": alone, "vs_batch1": ratio}
    print(fusion, {name: round(value, 2) for name, value in measured.items()})
    return measured


def _seconds(fusion: str, split: Split, size: int, share: float) -> float:
    """Seconds of one epoch over this share of the dialogues."""
    seed = supervision.SeedRandomness.seed_all(1)
    stem = {"text": "mlp", "audio": "conv1d", "vision": "mlp"}
    config = NetworkConfig(
        modalities=list(MODALITIES), dim=128, fused=128, stem=stem, fusion=fusion, context="gru",
        heads="independent", causal=False, dropout=0.3, roles=4,
        belief_weight=0.3,
    )  # fmt: skip
    network = Network(config, split.streams, split.heads())
    tasks = objectives.TaskWeights(emotion=1.0, sentiment=0.5)
    objective = objectives.SupervisedObjective(objectives.LabelLoss.of(split, 0.5, tasks, 0.0), seed.hide(0.0, 0.0))
    batches = seed.batches(split, {"meld": share}, "shuffled", size)
    rates = loop.LearningRateScale(text=1.0, audio=1.0, vision=1.0)
    once = loop.OptimisationConfig(
        epochs=1, patience=1, lr=1e-3, lr_scale=rates, optimiser="adamw", schedule="constant", warmup=0.0,
        weight_decay=0.01, clip=1.0, average=0.9, batch=size, accumulate=1, precision="float32",
    )  # fmt: skip
    start = time.process_time()
    loop.fit(network, objective, batches, lambda _: {loop.SCORE: 0.0}, once, loop.modality_parts(network, once))
    return time.process_time() - start


def synthetic(utterances: int, dialogues: int) -> Split:
    """A split of this size, of random features and labels."""
    random = np.random.default_rng(1)
    bounds = np.sort(random.choice(np.arange(1, utterances), dialogues - 1, replace=False))
    starts = np.concatenate([[0], bounds, [utterances]])
    steps = {m: random.integers(1, 2 * STEPS[m], utterances) for m in MODALITIES}
    space = labels.label_space("meld")
    order = space.outputs
    return Split(
        manifest=pd.DataFrame({"corpus": ["meld"] * utterances}),
        modalities=MODALITIES,
        features={f"{m}/random": _stream(random, steps[m], WIDTHS[m]) for m in MODALITIES},
        labels=order,
        targets={
            task: torch.from_numpy(random.integers(0, len(names), utterances)) for task, names in order.items()
        },
        present=torch.ones(utterances, len(MODALITIES), dtype=torch.bool),
        speaker=torch.from_numpy(random.integers(0, 4, utterances)),
        starts=torch.from_numpy(starts),
    )


def _stream(random: np.random.Generator, steps: np.ndarray, width: int) -> FeatureStream:
    values = random.standard_normal((int(steps.sum()), width), dtype=np.float32)
    return FeatureStream.of(
        torch.from_numpy(values), torch.from_numpy(np.cumsum(steps) - steps), torch.from_numpy(steps)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

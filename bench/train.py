"""python -m bench.train [FUSION ...]: seconds an epoch beside other papers' networks, and beside what is possible.

Processor seconds of one thread, medians of rounds in which all take turns; features drawn at random in the shapes
of MELD's training split, a tenth of its dialogues, scaled to an epoch.

- `merc`: this repository's network and loop (esag, crossmodal or the FUSIONS named) on sequences of steps;
  `merc-vectors` on one vector an utterance, the mean of its steps, which is all that the other networks read.
- the networks of bench/peers/ on the same vectors, in a plain loop with Adam.
- `@n`: n dialogues a batch. 8 is merc's default (train.batch); each peer also at its paper's.

`vs_..._equal` is a peer's time over that of merc-vectors at the same batch, `vs_..._defaults` over that of merc on
whole sequences, each at its own default. `of_limit` is the share of the measured rate of a matrix product of 1024 x
1024 that merc's products (counted by torch, forwards and backwards) reach.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bench.peers import PEERS
from bench.turns import measure
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
BATCH = 8  # merc's default, dialogues
SIZES = (8, 32)  # at which all are compared
SHARE = 0.1  # of an epoch that is timed
ROUNDS = 5
PRODUCT = 1024  # rows and columns of the product that shows the processor's rate
STEM = {"text": "mlp", "audio": "conv1d", "vision": "mlp"}
ONCE = loop.OptimisationConfig(
    epochs=1, patience=1, lr=1e-3, lr_scale=loop.LearningRateScale(text=1.0, audio=1.0, vision=1.0),
    optimiser="adamw", schedule="constant", warmup=0.0, weight_decay=0.01, clip=1.0, average=0.9, batch=BATCH,
    accumulate=1, precision="float32",
)  # fmt: skip


def main(*words: str) -> None:
    """Time the fusions (default: esag and crossmodal) and all peers, and write metrics/bench/train.json."""
    torch.set_num_threads(1)
    fusions = words or ("esag", "crossmodal")
    steps = synthetic(round(UTTERANCES * SHARE), round(DIALOGUES * SHARE))
    results.write_json(Path("metrics/bench/train.json"), compare(fusions, steps, ROUNDS))
    print(Path("metrics/bench/train.json").read_text(encoding="utf-8"))


def compare(fusions: tuple[str, ...], steps: Split, rounds: int) -> dict:
    """Seconds of an epoch by way, and the ratios of the docstring above, by fusion."""
    vectors, scale = with_means(steps), DIALOGUES / steps.dialogues
    ways: dict[str, Callable[[], object]] = {}
    for fusion in fusions:
        for size in (1, *SIZES):
            ways[f"merc {fusion}@{size}"] = partial(train, fusion, steps, size)
        for size in SIZES:
            ways[f"merc-vectors {fusion}@{size}"] = partial(train, fusion, vectors, size)
    for name, peer in PEERS.items():
        for size in sorted({*SIZES, peer.batch}):
            ways[f"{name}@{size}"] = partial(train_peer, name, vectors, size)
    side = torch.randn(PRODUCT, PRODUCT)
    measured = measure(ways | {"product": lambda: [side @ side for _ in range(10)]}, rounds)
    rate = 10 * 2 * PRODUCT**3 / measured.pop("product")
    report = {"epoch_seconds": {name: scale * taken for name, taken in measured.items()}}
    for fusion in fusions:
        ours = {size: measured[f"merc {fusion}@{size}"] for size in (1, *SIZES)}
        report[fusion] = {
            "vs_batch1": ours[1] / ours[BATCH],
            **{
                f"vs_{name}_equal@{size}": measured[f"{name}@{size}"] / measured[f"merc-vectors {fusion}@{size}"]
                for name in PEERS
                for size in SIZES
            },
            **{f"vs_{n}_defaults": measured[f"{n}@{peer.batch}"] / ours[BATCH] for n, peer in PEERS.items()},
            **{f"of_limit@{size}": operations(fusion, steps, size) / rate / ours[size] for size in SIZES},
        }
    return {**report, "product_gflops": rate / 1e9}


def train(fusion: str, split: Split, size: int) -> None:
    """An epoch of merc's own loop."""
    network, objective, batches = _prepare(fusion, split, size)
    loop.fit(network, objective, batches, lambda _: {loop.SCORE: 0.0}, ONCE, loop.modality_parts(network, ONCE))


def operations(fusion: str, split: Split, size: int) -> int:
    """Floating-point operations of the matrix products of an epoch, forwards and backwards."""
    network, objective, batches = _prepare(fusion, split, size)
    with FlopCounterMode(display=False) as counter:
        for drawn in batches.draw():
            torch.stack([*objective(network, batches.build(drawn, 1.0)).values()]).sum().backward()
    return counter.get_total_flops()


def _prepare(
    fusion: str, split: Split, size: int
) -> tuple[Network, objectives.SupervisedObjective, supervision.DialogueBatches]:
    seed = supervision.SeedRandomness.seed_all(1)
    config = NetworkConfig(
        modalities=list(MODALITIES), dim=128, fused=128, stem=STEM, fusion=fusion, context="gru",
        heads="independent", causal=False, dropout=0.3, roles=4, belief_weight=0.3,
    )  # fmt: skip
    network = Network(config, split.streams, split.heads())
    loss = objectives.LabelLoss.of(split, 0.5, {"emotion": 1.0, "sentiment": 0.5}, 0.0)
    objective = objectives.SupervisedObjective(loss, seed.hide(0.0, 0.0))
    return network, objective, seed.batches(split, {"meld": 1.0}, "shuffled", size)


def train_peer(name: str, vectors: Split, size: int) -> None:
    """An epoch of a peer's network: batches of whole dialogues in random order, cross-entropy, Adam."""
    torch.manual_seed(1)
    network = PEERS[name].build(WIDTHS, len(vectors.labels["emotion"]))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for features, speaker, lengths, emotion in peer_batches(vectors, size):
        loss = functional.cross_entropy(network(features, speaker, lengths).flatten(0, 1), emotion.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()


def peer_batches(vectors: Split, size: int) -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor, Tensor]]:
    """Padded dialogues: features {m: (B, T, D)}, speakers (B, T), lengths (B,), emotions (B, T) or -100."""
    matrices = {name.partition("/")[0]: stream.parts[0] for name, stream in vectors.features.items()}
    for dialogues in torch.randperm(vectors.dialogues).split(size):
        starts, lengths = vectors.starts[dialogues], vectors.starts[dialogues + 1] - vectors.starts[dialogues]
        turn = torch.arange(int(lengths.max()))
        real = turn < lengths.unsqueeze(1)
        rows = torch.where(real, starts.unsqueeze(1) + turn, 0)
        features = {m: matrix[rows] * real.unsqueeze(2) for m, matrix in matrices.items()}
        emotion = torch.where(real, vectors.targets["emotion"][rows], labels.UNLABELLED)
        yield features, vectors.speaker[rows] * real, lengths, emotion


def synthetic(utterances: int, dialogues: int) -> Split:
    """A split of this size, of random features and labels."""
    random = np.random.default_rng(1)
    bounds = np.sort(random.choice(np.arange(1, utterances), dialogues - 1, replace=False))
    starts = np.concatenate([[0], bounds, [utterances]])
    steps = {m: random.integers(1, 2 * STEPS[m], utterances) for m in MODALITIES}
    tasks = labels.label_space("meld").tasks
    return Split(
        manifest=pd.DataFrame({"corpus": ["meld"] * utterances}),
        modalities=MODALITIES,
        features={f"{m}/random": _stream(random, steps[m], WIDTHS[m]) for m in MODALITIES},
        tasks=tasks,
        targets={
            name: torch.from_numpy(random.integers(0, len(task.classes), utterances))
            for name, task in tasks.items()
        },
        votes={},
        present=torch.ones(utterances, len(MODALITIES), dtype=torch.bool),
        speaker=torch.from_numpy(random.integers(0, 4, utterances)),
        starts=torch.from_numpy(starts),
    )


def _stream(random: np.random.Generator, steps: np.ndarray, width: int) -> FeatureStream:
    values = random.standard_normal((int(steps.sum()), width), dtype=np.float32)
    return FeatureStream.of(
        torch.from_numpy(values), torch.from_numpy(np.cumsum(steps) - steps), torch.from_numpy(steps)
    )


def with_means(split: Split) -> Split:
    """The split with one step an utterance, the mean of its steps."""
    return replace(split, features={name: _means(stream) for name, stream in split.features.items()})


def _means(stream: FeatureStream) -> FeatureStream:
    rows = torch.arange(len(stream.lengths))
    sums = torch.zeros(len(rows), stream.dim)
    sums.index_add_(0, torch.repeat_interleave(rows, stream.lengths), stream.parts[0])
    return FeatureStream.of(sums / stream.lengths.unsqueeze(1), rows, torch.ones_like(stream.lengths))


if __name__ == "__main__":
    main(*sys.argv[1:])

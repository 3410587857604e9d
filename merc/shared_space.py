"""What self-supervision made of the shared latent space, measured on dev: do the modalities meet in it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from merc.alignment import follows, latents, order, recall_at_1
from merc.batches import Split

SHRINKAGE = 1.0  # of the probe's ridge regression: latent vectors have a variance of about 1 in every dimension


class Space(NamedTuple):
    """One network's latent space; nan where dev cannot tell."""

    recall_at_1: float  # how often an utterance's nearest neighbour in another modality is itself
    modality_probe: float  # accuracy of guessing the modality from the vector; chance is the best invariance
    norm_ratio: float  # longest mean length of a modality's vectors by the shortest
    order: float  # accuracy of telling which of two neighbouring utterances came first


@torch.inference_mode()
def measure(network: nn.Module, dev: Split) -> tuple[Space, Space]:
    """The space, and what chance gives."""
    latent, present = latents(network, dev)
    recall, by_chance = recall_at_1(latent, present, network.modalities)
    told = order(network, latent, present, follows(dev.starts, len(dev)))
    vectors = [latent[m][present[:, column]].cpu().numpy() for column, m in enumerate(network.modalities)]
    guessed, commonest = probe(vectors)
    # a network that cannot tell is right half of the time
    first = (0.5 + 0.5 * told.sign()).mean().item() if len(told) else float("nan")
    return Space(recall, guessed, norm_ratio(vectors), first), Space(by_chance, commonest, 1.0, 0.5)


def probe(vectors: list[np.ndarray]) -> tuple[float, float]:
    """Accuracy of a linear probe that names the set a vector is of, and of always naming the largest set.

    Ridge regression on the sets' indicators, fitted on each half of every set (even rows, odd rows) and asked
    about the other.
    """
    halves = [[one[parity::2] for one in vectors] for parity in (0, 1)]
    hits = sum(_hits(*pair) for pair in (halves, halves[::-1]))
    counts = [len(one) for one in vectors]
    return (hits / sum(counts), max(counts) / sum(counts)) if min(counts) > 1 else (float("nan"), float("nan"))


def _hits(known: list[np.ndarray], asked: list[np.ndarray]) -> int:
    values, owner = _with_one(known), np.repeat(np.arange(len(known)), [len(one) for one in known])
    if not len(owner):
        return 0
    gram = values.T @ values + SHRINKAGE * np.eye(values.shape[1])
    weights = np.linalg.solve(gram, values.T @ np.eye(len(known))[owner])
    actual = np.repeat(np.arange(len(asked)), [len(one) for one in asked])
    return int(((_with_one(asked) @ weights).argmax(1) == actual).sum())


def _with_one(sets: list[np.ndarray]) -> np.ndarray:
    values = np.concatenate(sets).astype(np.float64)
    return np.concatenate([values, np.ones((len(values), 1))], 1)


def norm_ratio(vectors: list[np.ndarray]) -> float:
    """Mean length of the set with the longest vectors by that of the set with the shortest."""
    lengths = [float(np.linalg.norm(one, axis=1).mean()) for one in vectors if len(one)]
    return max(lengths) / min(lengths) if lengths and min(lengths) > 0 else float("nan")

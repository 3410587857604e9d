"""Metrics of the pretrained latent space on dev: how well the modalities are aligned in it."""

from typing import NamedTuple

import numpy as np
import torch

from merc.data.batches.dataset import Split
from merc.training.core.network import MultimodalNetwork
from merc.training.pretrain.alignment_loss import compute_latents, is_followed, order_log_odds, recall_at_1

RIDGE_PENALTY = 1.0  # ridge penalty of the probe: latent vectors have a variance of about 1 in every dimension


class LatentSpaceMetrics(NamedTuple):
    """Metrics of a network's latent space; nan where dev has too few rows."""

    recall_at_1: float  # fraction of nearest neighbours in another modality that are the same utterance
    modality_probe: float  # accuracy of a linear probe for the modality; chance level is the best invariance
    norm_ratio: float  # largest mean norm of a modality's vectors / the smallest
    order: float  # accuracy of predicting which of two neighbouring utterances came first


@torch.inference_mode()
def measure_latent_space(network: MultimodalNetwork, dev: Split) -> tuple[LatentSpaceMetrics, LatentSpaceMetrics]:
    """The metrics of the latent space, and their chance level."""
    latent, present = compute_latents(network, dev)
    recall, chance_recall = recall_at_1(latent, present, network.modalities)
    log_odds = order_log_odds(network, latent, present, is_followed(dev.starts, len(dev)))
    vectors = [latent[m][present[:, column]].cpu().numpy() for column, m in enumerate(network.modalities)]
    probe_accuracy, majority_accuracy = linear_probe(vectors)
    # log-odds of 0 count as half right
    order_accuracy = (0.5 + 0.5 * log_odds.sign()).mean().item() if len(log_odds) else float("nan")
    measured = LatentSpaceMetrics(recall, probe_accuracy, norm_ratio(vectors), order_accuracy)
    return measured, LatentSpaceMetrics(chance_recall, majority_accuracy, 1.0, 0.5)


def linear_probe(vectors: list[np.ndarray]) -> tuple[float, float]:
    """Accuracy of a linear probe that predicts the set that a vector belongs to, and of the majority class.

    Ridge regression on one-hot targets, cross-validated over two halves of every set (even rows, odd rows).
    """
    halves = [[rows[parity::2] for rows in vectors] for parity in (0, 1)]
    hits = sum(_hits(*pair) for pair in (halves, halves[::-1]))
    counts = [len(rows) for rows in vectors]
    return (hits / sum(counts), max(counts) / sum(counts)) if min(counts) > 1 else (float("nan"), float("nan"))


def _hits(train: list[np.ndarray], test: list[np.ndarray]) -> int:
    """Number of test rows that a probe fitted on the training rows classifies correctly."""
    values, labels = _with_bias(train), np.repeat(np.arange(len(train)), [len(rows) for rows in train])
    if not len(labels):
        return 0
    gram = values.T @ values + RIDGE_PENALTY * np.eye(values.shape[1])
    weights = np.linalg.solve(gram, values.T @ np.eye(len(train))[labels])
    actual = np.repeat(np.arange(len(test)), [len(rows) for rows in test])
    return int(((_with_bias(test) @ weights).argmax(1) == actual).sum())


def _with_bias(sets: list[np.ndarray]) -> np.ndarray:
    values = np.concatenate(sets).astype(np.float64)
    return np.concatenate([values, np.ones((len(values), 1))], 1)


def norm_ratio(vectors: list[np.ndarray]) -> float:
    """The largest mean vector norm of a set / the smallest."""
    norms = [float(np.linalg.norm(rows, axis=1).mean()) for rows in vectors if len(rows)]
    return max(norms) / min(norms) if norms and min(norms) > 0 else float("nan")

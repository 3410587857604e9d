"""Self-supervised objective of pretraining (MISLS): alignment, reconstruction and order in the latent space."""

from collections.abc import Iterator
from itertools import combinations, permutations
from typing import cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from merc.data.batches.dataset import Split
from merc.runtime.params import StrictModel
from merc.training.core.loop import SCORE, batches
from merc.training.core.network import MultimodalNetwork
from merc.training.core.similarity import cosine_similarities

SIMILARITY_SCALE = 10.0  # factor of cosine similarities: 1 / temperature 0.1, the best of SimCLR (Chen et al. 2020)

BLOCK = 2048  # rows that are compared with all others at once: a dev split is one batch, and its square may not fit


class PretrainWeights(StrictModel):
    """Weights of the loss terms; 0 leaves a term out."""

    align: float = Field(ge=0)
    reconstruct: float = Field(ge=0)
    order: float = Field(ge=0)


class SelfSupervisedObjective:
    """Contrastive alignment, cross-modal reconstruction and order of utterances; uses no labels."""

    def __init__(self, weights: PretrainWeights) -> None:
        self.weights = weights

    def __call__(self, network: MultimodalNetwork, batch: dict) -> dict[str, Tensor]:
        dialogue = batch["place"][:, 0]
        return self.parts(network, network.latent(batch), batch["present"], dialogue[1:] == dialogue[:-1])

    def parts(
        self, network: MultimodalNetwork, latent: dict[str, Tensor], present: Tensor, following: Tensor
    ) -> dict[str, Tensor]:
        """The weighted loss terms of the latent vectors; for `following` see `order_log_odds`."""
        log_odds = order_log_odds(network, latent, present, following)
        return {
            "align": self.weights.align * contrastive_loss(latent, present, network.modalities),
            "reconstruct": self.weights.reconstruct * reconstruction_loss(network, latent, present),
            "order": self.weights.order * _order_loss(log_odds, latent),
        }


def _order_loss(log_odds: Tensor, latent: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy of pairs in their true order."""
    return -functional.logsigmoid(log_odds).mean() if len(log_odds) else _zero_loss(latent)


class AlignmentScore:
    """The negated dev loss, which selects the best epoch of pretraining."""

    def __init__(self, dev: Split, objective: SelfSupervisedObjective) -> None:
        self.dev, self.objective = dev, objective

    @torch.inference_mode()
    def __call__(self, network: MultimodalNetwork) -> dict[str, float]:
        latent, present = compute_latents(network, self.dev)
        following = is_followed(self.dev.starts, len(self.dev))
        loss = float(sum(self.objective.parts(network, latent, present, following).values()))
        recall, _ = recall_at_1(latent, present, network.modalities)
        return {"dev_loss": loss, "dev_recall_at_1": recall, SCORE: -loss}


def compute_latents(network: MultimodalNetwork, split: Split) -> tuple[dict[str, Tensor], Tensor]:
    """The pooled latent vectors (N, D) of every modality, and the mask (N, M) of those present."""
    network.eval()
    outputs = [(network.latent(batch), batch["present"]) for batch in batches(network, split)]
    vectors = {m: torch.cat([latent[m] for latent, _ in outputs]) for m in network.modalities}
    return vectors, torch.cat([present for _, present in outputs])


def contrastive_loss(latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...]) -> Tensor:
    """InfoNCE (van den Oord et al. 2018) of every pair of modalities, both ways, on utterances that have both."""
    losses = [_zero_loss(latent)]
    for (column, modality), (other_column, other) in combinations(enumerate(modalities), 2):
        has_both = present[:, column] & present[:, other_column]
        if has_both.sum() > 1:
            losses += _matching_losses(latent[modality][has_both], latent[other][has_both])
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def _matching_losses(one: Tensor, other: Tensor) -> list[Tensor]:
    """The mean cross-entropies of finding each row of one set (n, D) in the other, and the other way round."""
    targets = torch.arange(len(one), device=one.device)
    if len(one) <= BLOCK:
        logits = SIMILARITY_SCALE * cosine_similarities(one, other)
        return [functional.cross_entropy(logits, targets), functional.cross_entropy(logits.T, targets)]
    return [
        torch.stack(
            [
                functional.cross_entropy(SIMILARITY_SCALE * similarities, rows, reduction="sum")
                for similarities, rows in zip(_similarity_blocks(*pair), targets.split(BLOCK), strict=True)
            ]
        ).sum()
        / len(one)
        for pair in ((one, other), (other, one))
    ]


def _similarity_blocks(one: Tensor, other: Tensor) -> Iterator[Tensor]:
    """The cosine similarities (at most BLOCK, n) of rows of one set and all rows of the other."""
    return (cosine_similarities(rows, other) for rows in one.split(BLOCK))


def reconstruction_loss(network: MultimodalNetwork, latent: dict[str, Tensor], present: Tensor) -> Tensor:
    """1 - cosine similarity of a latent vector and its prediction from the utterance's other modalities."""
    losses = [_zero_loss(latent)]
    for modality, prediction in network.misls.reconstruct(latent, present).items():
        rows = present[:, network.modalities.index(modality)] & (present.sum(1) > 1)
        if rows.any():
            target = latent[modality][rows].detach()
            losses.append(1 - functional.cosine_similarity(prediction[rows], target).mean())
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def order_log_odds(
    network: MultimodalNetwork, latent: dict[str, Tensor], present: Tensor, following: Tensor
) -> Tensor:
    """(pairs,) the network's log-odds that the earlier of two neighbouring utterances came first.

    `following` (N - 1,): whether row n + 1 is the next utterance of row n's dialogue. A pair is left out if one of
    its utterances has no modality. An utterance is represented by the mean of its present latent vectors.
    """
    stacked = torch.stack([latent[m] for m in network.modalities], 1) * present.unsqueeze(-1)
    mean = stacked.sum(1) / present.sum(1, keepdim=True).clamp(min=1)
    is_pair = following & present.any(1)[1:] & present.any(1)[:-1]
    return network.misls.earlier(mean[:-1][is_pair], mean[1:][is_pair])


def is_followed(starts: Tensor, rows: int) -> Tensor:
    """(rows - 1,): whether the next row is of the same dialogue; dialogue d is rows starts[d]:starts[d + 1]."""
    is_start = torch.zeros(rows + 1, dtype=torch.bool, device=starts.device).index_fill(0, starts, True)
    return ~is_start[1:rows]


def recall_at_1(latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...]) -> tuple[float, float]:
    """Fraction of utterances whose nearest neighbour in another modality is the same utterance, and chance."""
    recalls, chances = [], []
    for (column, modality), (other_column, other) in permutations(enumerate(modalities), 2):
        has_both = present[:, column] & present[:, other_column]
        if has_both.any():
            blocks = _similarity_blocks(latent[modality][has_both], latent[other][has_both])
            nearest = torch.cat([similarities.argmax(1) for similarities in blocks])
            recalls.append((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean().item())
            chances.append(1 / len(nearest))
    return sum(recalls) / max(len(recalls), 1), sum(chances) / max(len(chances), 1)


def _zero_loss(latent: dict[str, Tensor]) -> Tensor:
    """A loss of 0 with a gradient, for a batch without pairs."""
    return cast(Tensor, sum(vectors.sum() for vectors in latent.values())) * 0.0

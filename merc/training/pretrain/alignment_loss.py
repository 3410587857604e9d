"""Losses of pretraining over latent vectors (MISLS): alignment, in three forms, reconstruction and order."""

from collections.abc import Iterator
from itertools import combinations, permutations
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from merc.data.batches.dataset import Split
from merc.runtime.numerics import square_root
from merc.training.core.loop import batches
from merc.training.core.network import MultimodalNetwork
from merc.training.core.similarity import cosine_similarities

SIMILARITY_SCALE = 10.0  # factor of cosine similarities: 1 / temperature 0.1, the best of SimCLR (Chen et al. 2020)

BLOCK = 2048  # rows that are compared with all others at once: a dev split is one batch, and its square may not fit


def order_loss(log_odds: Tensor, latent: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy of pairs in their true order."""
    return -functional.logsigmoid(log_odds).mean() if len(log_odds) else zero_loss(latent)


def compute_latents(network: MultimodalNetwork, split: Split) -> tuple[dict[str, Tensor], Tensor]:
    """The pooled latent vectors (N, D) of every modality, and the mask (N, M) of those present."""
    network.eval()
    outputs = [(network.latent(batch), batch["present"]) for batch in batches(network, split)]
    vectors = {m: torch.cat([latent[m] for latent, _ in outputs]) for m in network.modalities}
    return vectors, torch.cat([present for _, present in outputs])


def contrastive_loss(latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...]) -> Tensor:
    """InfoNCE (van den Oord et al. 2018) of every pair of modalities, both ways, on utterances that have both."""
    losses = [zero_loss(latent)]
    for (column, modality), (other_column, other) in combinations(enumerate(modalities), 2):
        has_both = present[:, column] & present[:, other_column]
        if has_both.sum() > 1:
            losses += matching_losses(latent[modality][has_both], latent[other][has_both])
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def matching_losses(one: Tensor, other: Tensor) -> list[Tensor]:
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


def hard_contrastive_loss(
    latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...], may_confuse: Tensor
) -> Tensor:
    """InfoNCE as in `contrastive_loss` whose negatives are hard ones (Robinson et al. 2021), chosen by structure.

    `may_confuse` (N, N): the negatives of each row. With those of the same dialogue and speaker alone, who speaks
    and how he looks tells nothing; a row without a negative is left out.
    """
    losses = [zero_loss(latent)]
    for (column, modality), (other_column, other) in permutations(enumerate(modalities), 2):
        rows = (present[:, column] & present[:, other_column]).nonzero().squeeze(1)
        negative = may_confuse[rows][:, rows]
        if negative.any():
            logits = SIMILARITY_SCALE * cosine_similarities(latent[modality][rows], latent[other][rows])
            itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
            logits, has_any = logits.masked_fill(~(negative | itself), -torch.inf), negative.any(1)
            targets = torch.arange(len(rows), device=rows.device)
            losses.append(functional.cross_entropy(logits[has_any], targets[has_any]))
    return 2 * torch.stack(losses).sum() / max(len(losses) - 1, 1)


def vicreg_loss(latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...]) -> Tensor:
    """VICReg (Bardes et al. 2022) of every pair of modalities: 25 s + 25 v + c, in units of 25.

    s: mean squared difference; v: mean over dimensions of max(0, 1 - standard deviation); c: the squared
    covariances of different dimensions / D. Needs no negatives, so no large batches.
    """
    losses = [zero_loss(latent)]
    for (column, modality), (other_column, other) in combinations(enumerate(modalities), 2):
        has_both = present[:, column] & present[:, other_column]
        if has_both.sum() > 1:
            pair = latent[modality][has_both], latent[other][has_both]
            spread = cast(Tensor, sum(_variance_loss(one) + _covariance_loss(one) / 25 for one in pair))
            losses.append(functional.mse_loss(*pair) + spread)
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def _variance_loss(vectors: Tensor) -> Tensor:
    return (1 - square_root(vectors.var(0) + 1e-4)).clamp(min=0).mean()


def _covariance_loss(vectors: Tensor) -> Tensor:
    covariance = vectors.T.cov()
    return (covariance - covariance.diagonal().diag()).square().sum() / vectors.shape[1]


def reconstruction_loss(network: MultimodalNetwork, latent: dict[str, Tensor], present: Tensor) -> Tensor:
    """1 - cosine similarity of a latent vector and its prediction from the utterance's other modalities."""
    losses = [zero_loss(latent)]
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


def zero_loss(latent: dict[str, Tensor]) -> Tensor:
    """A loss of 0 with a gradient, for a batch without pairs."""
    return cast(Tensor, sum(vectors.sum() for vectors in latent.values())) * 0.0

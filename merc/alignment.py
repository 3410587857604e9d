"""Self-supervised objective: the modalities of one utterance tell of each other in the shared latent space."""

from itertools import combinations, permutations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from merc.batches import Split
from merc.engine import SCORE, batches
from merc.params import Strict

SHARPNESS = 10.0  # cosine similarities are multiplied by this: 1 / temperature 0.1, as SimCLR found best


class PretrainWeights(Strict):
    """How much each part counts; 0 leaves it out."""

    align: float = Field(ge=0)
    reconstruct: float = Field(ge=0)
    order: float = Field(ge=0)


class SelfSupervised:
    """Contrastive alignment, cross-modal reconstruction and the order of utterances; needs no label."""

    def __init__(self, weights: PretrainWeights) -> None:
        self.weights = weights

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]:
        dialogue = batch["place"][:, 0]
        return self.parts(network, network.latent(batch), batch["present"], dialogue[1:] == dialogue[:-1])

    def parts(
        self, network: nn.Module, latent: dict[str, Tensor], present: Tensor, following: Tensor
    ) -> dict[str, Tensor]:
        """The weighted parts of the loss of these latent vectors; `following`: see `order`."""
        told = order(network, latent, present, following)
        return {
            "align": self.weights.align * align(latent, present, network.modalities),
            "reconstruct": self.weights.reconstruct * reconstruct(network, latent, present),
            "order": self.weights.order * (-functional.logsigmoid(told).mean() if len(told) else _nothing(latent)),
        }


class AlignmentScore:
    """The dev loss, negated: what chooses the best epoch of self-supervision."""

    def __init__(self, dev: Split, objective: SelfSupervised) -> None:
        self.dev, self.objective = dev, objective

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        latent, present = latents(network, self.dev)
        following = follows(self.dev.starts, len(self.dev))
        loss = float(sum(self.objective.parts(network, latent, present, following).values()))
        found, _ = recall_at_1(latent, present, network.modalities)
        return {"dev_loss": loss, "dev_recall_at_1": found, SCORE: -loss}


def latents(network: nn.Module, split: Split) -> tuple[dict[str, Tensor], Tensor]:
    """The pooled latent vectors (N, D) of every modality, and which are present (N, M)."""
    network.eval()
    told = [(network.latent(batch), batch["present"]) for batch in batches(network, split)]
    joined = {m: torch.cat([latent[m] for latent, _ in told]) for m in network.modalities}
    return joined, torch.cat([present for _, present in told])


def align(latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...]) -> Tensor:
    """InfoNCE (van den Oord et al. 2018) of every pair of modalities, both ways, where an utterance has both."""
    losses = [_nothing(latent)]
    for (first, one), (second, other) in combinations(enumerate(modalities), 2):
        both = present[:, first] & present[:, second]
        if both.sum() > 1:
            likeness = SHARPNESS * _likeness(latent[one][both], latent[other][both])
            same = torch.arange(len(likeness), device=likeness.device)
            losses += [functional.cross_entropy(likeness, same), functional.cross_entropy(likeness.T, same)]
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def reconstruct(network: nn.Module, latent: dict[str, Tensor], present: Tensor) -> Tensor:
    """1 - cosine of a latent vector with what the utterance's other modalities predict it to be."""
    losses = [_nothing(latent)]
    for modality, told in network.misls.reconstruct(latent, present).items():
        own = present[:, network.modalities.index(modality)] & (present.sum(1) > 1)
        if own.any():
            losses.append(1 - functional.cosine_similarity(told[own], latent[modality][own].detach()).mean())
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def order(network: nn.Module, latent: dict[str, Tensor], present: Tensor, following: Tensor) -> Tensor:
    """Log-odds, by the network, that the earlier of two neighbouring utterances came first: one a pair.

    `following` (N - 1,): whether row n + 1 is the next utterance of row n's dialogue. Pairs with nothing present
    in one of them are left out. An utterance is the mean of its present latents.
    """
    stacked = torch.stack([latent[m] for m in network.modalities], 1) * present.unsqueeze(-1)
    mean = stacked.sum(1) / present.sum(1, keepdim=True).clamp(min=1)
    pair = following & present.any(1)[1:] & present.any(1)[:-1]
    return network.misls.earlier(mean[:-1][pair], mean[1:][pair])


def follows(starts: Tensor, rows: int) -> Tensor:
    """(rows - 1,): whether the next row is of the same dialogue; dialogue d owns rows starts[d]:starts[d + 1]."""
    begins = torch.zeros(rows + 1, dtype=torch.bool, device=starts.device).index_fill(0, starts, True)
    return ~begins[1:rows]


def recall_at_1(latent: dict[str, Tensor], present: Tensor, modalities: tuple[str, ...]) -> tuple[float, float]:
    """How often an utterance's nearest neighbour in another modality is itself, and how often by chance."""
    found, chance = [], []
    for (first, one), (second, other) in permutations(enumerate(modalities), 2):
        both = present[:, first] & present[:, second]
        if both.any():
            nearest = _likeness(latent[one][both], latent[other][both]).argmax(1)
            found.append((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean().item())
            chance.append(1 / len(nearest))
    return sum(found) / max(len(found), 1), sum(chance) / max(len(chance), 1)


def _nothing(latent: dict[str, Tensor]) -> Tensor:
    """A loss of 0 that has a gradient, for a batch without pairs."""
    return sum(one.sum() for one in latent.values()) * 0.0


def _likeness(one: Tensor, other: Tensor) -> Tensor:
    return functional.normalize(one, dim=1) @ functional.normalize(other, dim=1).T

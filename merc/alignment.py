"""Self-supervised objective: the modalities of one utterance tell of each other in the shared latent space."""

from itertools import combinations, permutations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from merc.batches import Split
from merc.engine import SCORE, outputs
from merc.params import Strict

SHARPNESS = 10.0  # cosine similarities are multiplied by this: 1 / temperature 0.1, as SimCLR found best


class PretrainWeights(Strict):
    """How much each part counts; 0 leaves it out."""

    align: float = Field(ge=0)
    reconstruct: float = Field(ge=0)


class SelfSupervised:
    """Contrastive alignment and cross-modal reconstruction; needs no label."""

    def __init__(self, weights: PretrainWeights) -> None:
        self.weights = weights

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]:
        return self.parts(network, network(batch)["latent"], batch["present"])

    def parts(self, network: nn.Module, latent: dict[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        """The weighted parts of the loss of these latent vectors."""
        return {
            "align": self.weights.align * align(latent, present, network.modalities),
            "reconstruct": self.weights.reconstruct * reconstruct(network, latent, present),
        }


class AlignmentScore:
    """The dev loss, negated: what chooses the best epoch of self-supervision."""

    def __init__(self, dev: Split, objective: SelfSupervised) -> None:
        self.dev, self.objective = dev, objective

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        latent, present = latents(network, self.dev)
        loss = float(sum(self.objective.parts(network, latent, present).values()))
        found, _ = recall_at_1(latent, present, network.modalities)
        return {"dev_loss": loss, "dev_recall_at_1": found, SCORE: -loss}


def latents(network: nn.Module, split: Split) -> tuple[dict[str, Tensor], Tensor]:
    """The pooled latent vectors (N, D) of every modality, and which are present (N, M)."""
    told = [(output["latent"], batch["present"]) for batch, output in outputs(network, split)]
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

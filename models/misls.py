"""MISLS, the modality-invariant shared latent space: projects all modalities' steps into one space and scale."""

import torch
from torch import Tensor, nn

from models.sequences import masked_mean, step_mask


class AttentionPool(nn.Module):
    """p = sum_s softmax_s(q . x_s / sqrt(D)) x_s over the real steps s, q learned (Lin et al. 2017, one head).

    q is initialised with 0, so that p starts as the mean over the steps.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(dim))

    def forward(self, values: Tensor, steps: Tensor) -> Tensor:
        score = values @ self.query / values.shape[-1] ** 0.5
        score = score.masked_fill(~step_mask(steps, values.shape[1]), torch.finfo(score.dtype).min)
        return (score.softmax(1).unsqueeze(1) @ values).squeeze(1)


class MISLS(nn.Module):
    """z_ms = LayerNorm(P_m h_ms): a projection per modality into one space; the norm has no learned scale, so
    |z_ms| = sqrt(D) for every modality. A missing modality is a single step a_m, a learned absent token.

    After MISA's shared subspace (Hazarika et al. 2020). The training makes it modality-invariant: contrastive
    alignment, modality dropout, cross-modal reconstruction, latent_m ~ R_m(mean of the other present latents), and
    predicting which of two utterances came first, log-odds = a W b - b W a, antisymmetric in a and b.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int):
        super().__init__()
        self.modalities = modalities
        self.projections = nn.ModuleDict({m: nn.Linear(dim, dim) for m in modalities})
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.absent = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(dim)) for m in modalities})
        pairs = modalities if len(modalities) > 1 else ()  # a single modality has no others
        self.decoders = nn.ModuleDict({m: _decoder(dim) for m in pairs})
        self.order = nn.Parameter(torch.zeros(dim, dim))

    def earlier(self, first: Tensor, second: Tensor) -> Tensor:
        """(n,) log-odds that utterances `first` (n, D) came before `second` (n, D)."""
        antisymmetric = self.order - self.order.T
        return ((first @ antisymmetric) * second).sum(1) / first.shape[1] ** 0.5

    def project(self, modality: str, hidden: Tensor) -> Tensor:
        """Project steps (..., D) of the modality's stem into the shared space, each step separately."""
        return self.norm(self.projections[modality](hidden))

    def forward(
        self, sequences: dict[str, Tensor], steps: dict[str, Tensor], present: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Projected steps {m: (N, S_m, D)} -> latent sequences with absent tokens, and their numbers of steps."""
        is_present = dict(zip(self.modalities, present.unbind(1), strict=True))
        z = {m: self._with_absent(sequences[m], self.absent[m], is_present[m]) for m in self.modalities}
        return z, {m: torch.where(is_present[m], steps[m], 1) for m in self.modalities}

    def _with_absent(self, sequence: Tensor, absent: Tensor, is_present: Tensor) -> Tensor:
        """The absent token in every step of absent rows, of which the first counts and the others are padding."""
        mask = is_present.view(-1, 1, 1).to(sequence.dtype)
        return sequence * mask + absent * (1 - mask)

    def latent(self, sequences: dict[str, Tensor], steps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Projected steps -> their means {m: (N, D)}, undefined where a modality is absent."""
        return {m: self.norm(masked_mean(sequences[m], steps[m])) for m in self.modalities}

    def reconstruct(self, latent: dict[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        """Reconstruct each modality's latent from the other present ones: {m: (N, D)}; {} for a single modality."""
        stacked, is_present = torch.stack([latent[m] for m in self.modalities], 1), present.unsqueeze(-1).float()
        total, count = (stacked * is_present).sum(1), is_present.sum(1)
        return {
            m: decoder((total - (stacked * is_present)[:, column]) / (count - is_present[:, column]).clamp(min=1))
            for column, (m, decoder) in enumerate(self.decoders.items())
        }


def _decoder(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

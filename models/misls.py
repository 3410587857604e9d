"""MISLS, the modality-invariant shared latent space: every modality's steps in one space, on one scale."""

import torch
from torch import Tensor, nn

from models.packed import Attended
from models.stems import within


def mean(values: Tensor, steps: Tensor) -> Tensor:
    """(N, D) mean over the real steps of (N, S, D); 0 where there is none."""
    share = within(steps, values.shape[1]).to(values.dtype) / steps.clamp(min=1).unsqueeze(1)
    return (share.unsqueeze(1) @ values).squeeze(1)


class AttentionPool(nn.Module):
    """p = sum_s softmax_s(q . x_s / sqrt(D)) x_s over real steps, q learned (Lin et al. 2017, one head).

    q starts at 0, so that p starts as the mean over the steps.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(dim))

    def forward(self, values: Tensor, steps: Tensor) -> Tensor:
        if self.training and values.device.type == "cpu":
            return Attended.apply(values, self.query / values.shape[-1] ** 0.5, within(steps, values.shape[1]))
        score = values @ self.query / values.shape[-1] ** 0.5
        score = score.masked_fill(~within(steps, values.shape[1]), torch.finfo(score.dtype).min)
        return (score.softmax(1).unsqueeze(1) @ values).squeeze(1)


class MISLS(nn.Module):
    """z_ms = LayerNorm(P_m h_ms): a projection per modality into one space; the norm has no scale of its own, so
    |z_ms| = sqrt(D) for every modality. A missing modality is the one step a_m, a learned absent token.

    After MISA's shared subspace (Hazarika et al. 2020); what makes it modality-invariant is the training:
    contrastive alignment, modality dropout, and cross-modal reconstruction,
    latent_m ~ R_m(mean of the other present latents), and telling which of two utterances came first,
    log-odds = a W b - b W a, antisymmetric, so that to swap the two is to swap the answer.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int):
        super().__init__()
        self.modalities = modalities
        self.projections = nn.ModuleDict({m: nn.Linear(dim, dim) for m in modalities})
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.absent = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(dim)) for m in modalities})
        pairs = modalities if len(modalities) > 1 else ()  # a lone modality has no others to be told from
        self.decoders = nn.ModuleDict({m: _decoder(dim) for m in pairs})
        self.order = nn.Parameter(torch.zeros(dim, dim))

    def earlier(self, first: Tensor, second: Tensor) -> Tensor:
        """(n,) log-odds that utterances `first` (n, D) came before `second` (n, D)."""
        way = self.order - self.order.T
        return ((first @ way) * second).sum(1) / first.shape[1] ** 0.5

    def project(self, modality: str, hidden: Tensor) -> Tensor:
        """Steps (..., D) of one modality's stem, each for itself, into the one space."""
        return self.norm(self.projections[modality](hidden))

    def forward(
        self, sequences: dict[str, Tensor], steps: dict[str, Tensor], present: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Projected steps {m: (N, S_m, D)} -> latent sequences and their steps."""
        here = dict(zip(self.modalities, present.unbind(1), strict=True))
        z = {m: self._told(sequences[m], self.absent[m], here[m]) for m in self.modalities}
        return z, {m: torch.where(here[m], steps[m], 1) for m in self.modalities}

    def _told(self, sequence: Tensor, absent: Tensor, here: Tensor) -> Tensor:
        """Whoever is absent is the one step `absent`; what is written behind that step is padding."""
        token = absent.to(sequence.dtype)
        if not self.training:  # an export must not branch on values
            return torch.where(here.view(-1, 1, 1), sequence, token)
        rows = (~here).nonzero().squeeze(1)
        return sequence.index_put((rows, torch.zeros_like(rows)), token) if len(rows) else sequence

    def latent(self, sequences: dict[str, Tensor], steps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Projected steps -> {m: (N, D)} pooled; it knows no absent token and means nothing there."""
        return {m: self.norm(mean(sequences[m], steps[m])) for m in self.modalities}

    def reconstruct(self, latent: dict[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        """Each modality's latent as the others that are present tell it: {m: (N, D)}; a lone modality gives {}."""
        stacked, here = torch.stack([latent[m] for m in self.modalities], 1), present.unsqueeze(-1).float()
        total, count = (stacked * here).sum(1), here.sum(1)
        return {
            m: decoder((total - (stacked * here)[:, column]) / (count - here[:, column]).clamp(min=1))
            for column, (m, decoder) in enumerate(self.decoders.items())
        }


def _decoder(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

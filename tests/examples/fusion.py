"""Example fusion: the mean of the pooled modalities."""

import torch
from torch import Tensor, nn

from models.latents import Latents
from models.misls import AttentionPool


class Mean(nn.Module):
    """u = ReLU(W mean_m(p_m) + b); p_m: pooled steps of modality m, or its absent token if it is missing."""

    def __init__(self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, fused: int):
        super().__init__()
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.output = nn.Linear(dim, fused)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """(N, fused) utterance vectors, and named weights for explanations (none here)."""
        pooled = torch.stack([*latents.pooled(self.pools).values()])  # (M, N, dim)
        return torch.relu(self.output(pooled.mean(0))), {}

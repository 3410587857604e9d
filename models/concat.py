"""Fusion by late concatenation, the baseline."""

import torch
from torch import Tensor, nn

from models.latents import Latents
from models.misls import AttentionPool
from models.stems import BatchNorm


class Concat(nn.Module):
    """u = Dropout(ReLU(BatchNorm(W [p_1; ...; p_M] + b))), where p_m are the pooled steps of modality m (its
    absent token when it is missing). Late fusion by concatenation, as in the seed with r3d_18 features.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, fused: int):
        super().__init__()
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.mix, self.norm = nn.Linear(len(modalities) * dim, fused), BatchNorm(fused)
        self.dropout = nn.Dropout(dropout)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        concatenated = torch.cat([*latents.pooled(self.pools).values()], -1)
        return self.dropout(torch.relu(self.norm(self.mix(concatenated)))), {}

"""Fusion by token-level cross-modal attention: words attend to sounds, sounds to pictures, and so on."""

import torch
from torch import Tensor, nn

from models.context import HEADS, feed_forward, sinusoids
from models.latents import Latents
from models.misls import AttentionPool
from models.sequences import step_mask


class CrossModal(nn.Module):
    """Attention in every ordered pair of modalities a, b (A<->V, A<->T, V<->T), padding masked:

        x_a = LayerNorm(z_a + sum_b MultiHead_ab(query z_a + s, key z_b + s, value z_b)),  s = sinusoids(step)
        y_a = LayerNorm(x_a + FFN_a(x_a))
        u   = LayerNorm(W [pool(y_1); ...; pool(y_M)] + c)

    Cross-modal attention after MulT (Tsai et al. 2019), pairs as in AVT-MemoCMT; one layer, the sum over pairs and
    the pooling are ours. A missing modality is its absent token; a single modality attends to itself.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, fused: int):
        super().__init__()
        is_single = len(modalities) == 1
        self.pairs = [(a, b) for a in modalities for b in modalities if a != b or is_single]
        self.attend = nn.ModuleDict(
            {f"{a}>{b}": nn.MultiheadAttention(dim, HEADS, dropout, batch_first=True) for a, b in self.pairs}
        )
        self.feed = nn.ModuleDict({m: feed_forward(dim, dropout) for m in modalities})
        self.first_norm = nn.ModuleDict({m: nn.LayerNorm(dim) for m in modalities})
        self.second_norm = nn.ModuleDict({m: nn.LayerNorm(dim) for m in modalities})
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.mix, self.norm = nn.Linear(len(modalities) * dim, fused), nn.LayerNorm(fused)
        self.dropout = nn.Dropout(dropout)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Utterance vectors (N, fused), and the attention weights "a>b" (N, S_a, S_b) of a's steps on b's."""
        z, steps, residual = latents.z, latents.steps, dict(latents.z)
        weights: dict[str, Tensor] = {}
        for a, b in self.pairs:
            attended, weights[f"{a}>{b}"] = self._attend(a, b, z, steps)
            residual[a] = residual[a] + self.dropout(attended)
        pooled = [pool(self._feed_forward(m, residual[m]), steps[m]) for m, pool in self.pools.items()]
        return self.norm(self.mix(self.dropout(torch.cat(pooled, -1)))), weights

    def _attend(self, a: str, b: str, z: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        query, key = _with_positions(z[a]), _with_positions(z[b])
        padding = ~step_mask(steps[b], key.shape[1])
        return self.attend[f"{a}>{b}"](query, key, z[b], key_padding_mask=padding)

    def _feed_forward(self, modality: str, residual: Tensor) -> Tensor:
        x = self.first_norm[modality](residual)
        return self.second_norm[modality](x + self.feed[modality](x))


def _with_positions(z: Tensor) -> Tensor:
    return z + sinusoids(torch.arange(z.shape[1], device=z.device), z.shape[-1])

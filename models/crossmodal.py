"""Token-level cross-modal attention: words look at sounds, sounds at pictures, and so on."""

import torch
from torch import Tensor, nn

from models.context import HEADS, sinusoids
from models.dropout import Dropout
from models.latents import Latents
from models.misls import AttentionPool
from models.stems import within


class CrossModal(nn.Module):
    """Every ordered pair of modalities a, b (A<->V, A<->T, V<->T), over real sequences:

        x_a = LayerNorm(z_a + sum_b MultiHead_ab(query z_a + s, key z_b + s, value z_b)),  s = sinusoids(step)
        y_a = LayerNorm(x_a + FFN_a(x_a))
        u   = LayerNorm(W [pool(y_1); ...; pool(y_M)] + c)

    Cross-modal attention after MulT (Tsai et al. 2019), pairs as in AVT-MemoCMT; one layer, the sum over pairs and
    the pooling are ours. A missing modality is attended to as its absent token; a lone modality attends to itself.
    """

    def __init__(
        self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, roles: int, fused: int
    ):
        super().__init__()
        lone = len(modalities) == 1
        self.pairs = [(a, b) for a in modalities for b in modalities if a != b or lone]
        self.attend = nn.ModuleDict(
            {f"{a}>{b}": nn.MultiheadAttention(dim, HEADS, dropout, batch_first=True) for a, b in self.pairs}
        )
        self.feed = nn.ModuleDict({m: feed_forward(dim, dropout) for m in modalities})
        self.first_norm = nn.ModuleDict({m: nn.LayerNorm(dim) for m in modalities})
        self.second_norm = nn.ModuleDict({m: nn.LayerNorm(dim) for m in modalities})
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.mix, self.norm = nn.Linear(len(modalities) * dim, fused), nn.LayerNorm(fused)
        self.dropout = Dropout(dropout)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights "a>b" (N, S_a, S_b) say how much each step of a looks at each step of b."""
        z, steps, told, weights = latents.z, latents.steps, dict(latents.z), {}
        for a, b in self.pairs:
            answer, weights[f"{a}>{b}"] = self._attend(a, b, z, steps)
            told[a] = told[a] + self.dropout(answer)
        pooled = [pool(self._digest(m, told[m]), steps[m]) for m, pool in self.pools.items()]
        return self.norm(self.mix(self.dropout(torch.cat(pooled, -1)))), weights

    def _attend(self, a: str, b: str, z: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        query, key = _placed(z[a]), _placed(z[b])
        padding = ~within(steps[b], key.shape[1])
        return self.attend[f"{a}>{b}"](query, key, z[b], key_padding_mask=padding)

    def _digest(self, modality: str, told: Tensor) -> Tensor:
        x = self.first_norm[modality](told)
        return self.second_norm[modality](x + self.feed[modality](x))


def feed_forward(dim: int, dropout: float) -> nn.Sequential:
    """FFN(x) = Dropout(W2 Dropout(ReLU(W1 x)))."""
    wide = 2 * dim
    return nn.Sequential(nn.Linear(dim, wide), nn.ReLU(), Dropout(dropout), nn.Linear(wide, dim), Dropout(dropout))


def _placed(z: Tensor) -> Tensor:
    return z + sinusoids(torch.arange(z.shape[1], device=z.device), z.shape[-1])

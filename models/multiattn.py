"""Attention between the dialogue's three utterance sequences, then within each."""

import torch
from torch import Tensor, nn

from models.context import HEADS, sinusoids
from models.crossmodal import feed_forward
from models.dropout import Dropout
from models.latents import Latents
from models.misls import AttentionPool


class Between(nn.Module):
    """Each modality's sequence of utterances looks at the other modalities' in turn, then at itself:

        x_a = p_a + sinusoids(turn)
        x_a = LayerNorm(x_a + MultiHead_ab(x_a, x_b, x_b))   for each b other than a, then for b = a
        y_a = LayerNorm(x_a + FFN_a(x_a))
        u   = LayerNorm(W [y_1; ...; y_M] + c)

    After MultiEMO's MultiAttn (Shi and Huang 2023), one layer. An utterance looks at those of its dialogue (causal:
    at none later) that have the modality, and always at its own, be it an absent token.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, dropout: float, fused: int):
        super().__init__()
        self.modalities = modalities
        self.pairs = [(a, b) for a in modalities for b in (*(m for m in modalities if m != a), a)]
        names = [f"{a}>{b}" for a, b in self.pairs]
        self.attend = nn.ModuleDict({n: nn.MultiheadAttention(dim, HEADS, dropout) for n in names})
        self.norms = nn.ModuleDict({n: nn.LayerNorm(dim) for n in names})
        self.feed = nn.ModuleDict({m: feed_forward(dim, dropout) for m in modalities})
        self.feed_norms = nn.ModuleDict({m: nn.LayerNorm(dim) for m in modalities})
        self.mix, self.norm = nn.Linear(len(modalities) * dim, fused), nn.LayerNorm(fused)
        self.dropout = Dropout(dropout)

    def forward(
        self, pooled: dict[str, Tensor], present: Tensor, place: Tensor, causal: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights "a>b" (N, N) say how much each utterance's a looks at each utterance's b."""
        heard = {m: audible(present[:, column], place, causal) for column, m in enumerate(self.modalities)}
        start = {m: x + sinusoids(place[:, 1], x.shape[-1]) for m, x in pooled.items()}
        told, weights = dict(start), {}
        for a, b in self.pairs:
            key, name = told[a] if a == b else start[b], f"{a}>{b}"
            answer, weights[name] = self.attend[name](told[a], key, key, attn_mask=~heard[b])
            told[a] = self.norms[name](told[a] + self.dropout(answer))
        digested = [self.feed_norms[m](x + self.feed[m](x)) for m, x in told.items()]
        return self.norm(self.mix(self.dropout(torch.cat(digested, -1)))), weights


class MultiAttn(nn.Module):
    """u = Between(p), p_nm the pooled steps of modality m of utterance n."""

    def __init__(
        self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, roles: int, fused: int
    ):
        super().__init__()
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.between = Between(modalities, dim, dropout, fused)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        return self.between(latents.pooled(self.pools), latents.present, latents.place, causal)


def audible(present: Tensor, place: Tensor, causal: bool) -> Tensor:
    """(N, N) bool: may utterance n look at j's modality; always at its own."""
    dialogue, turn = place.unbind(1)
    gap = turn.unsqueeze(1) - turn
    near = (dialogue.unsqueeze(1) == dialogue) & (present | (gap == 0))
    return near & (gap >= 0) if causal else near

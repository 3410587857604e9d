"""Fusion by attention between the modalities' utterance sequences of a dialogue, then within each."""

import torch
from torch import Tensor, nn

from models.context import HEADS, feed_forward, sinusoids
from models.latents import Latents
from models.misls import AttentionPool


class ModalityAttention(nn.Module):
    """Each modality's utterance sequence attends to the other modalities' one after another, then to itself:

        x_a = p_a + sinusoids(turn)
        x_a = LayerNorm(x_a + MultiHead_ab(x_a, x_b, x_b))   for each b other than a, then for b = a
        y_a = LayerNorm(x_a + FFN_a(x_a))
        u   = LayerNorm(W [y_1; ...; y_M] + c)

    p_a are the pooled steps. After MultiEMO's MultiAttn (Shi and Huang 2023), one layer. An utterance attends to
    those of its dialogue (causal: none later) that have the modality, and always to itself, even if absent.
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
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, pooled: dict[str, Tensor], present: Tensor, position: Tensor, causal: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Utterance vectors (N, fused), and the attention weights "a>b" (N, N) of a's utterances on b's."""
        masks = {m: may_attend(present[:, column], position, causal) for column, m in enumerate(self.modalities)}
        inputs = {m: x + sinusoids(position[:, 1], x.shape[-1]) for m, x in pooled.items()}
        states = dict(inputs)
        weights: dict[str, Tensor] = {}
        for a, b in self.pairs:
            key, name = states[a] if a == b else inputs[b], f"{a}>{b}"
            attended, weights[name] = self.attend[name](states[a], key, key, attn_mask=~masks[b])
            states[a] = self.norms[name](states[a] + self.dropout(attended))
        outputs = [self.feed_norms[m](x + self.feed[m](x)) for m, x in states.items()]
        return self.norm(self.mix(self.dropout(torch.cat(outputs, -1)))), weights


class MultiAttn(nn.Module):
    """Attention between the modalities over the pooled steps p_nm of modality m of utterance n."""

    def __init__(self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, fused: int):
        super().__init__()
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.between = ModalityAttention(modalities, dim, dropout, fused)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        return self.between(latents.pooled(self.pools), latents.present, latents.position, causal)


def may_attend(present: Tensor, position: Tensor, causal: bool) -> Tensor:
    """(N, N) bool: may utterance n attend to utterance j, given which have the modality (N,)."""
    dialogue, turn = position.unbind(1)
    gap = turn.unsqueeze(1) - turn
    allowed = (dialogue.unsqueeze(1) == dialogue) & (present | (gap == 0))
    return allowed & (gap >= 0) if causal else allowed

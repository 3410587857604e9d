"""The conversation as a graph: a node per utterance and modality."""

import torch
from torch import Tensor, nn

from models.dropout import Dropout
from models.latents import Latents
from models.misls import AttentionPool

WINDOW = 10  # turns that an edge may span, each way, as in DialogueGCN
RELATIONS = 4  # same speaker or another, earlier or later
LAYERS = 2


class Nodes(nn.Module):
    """h_nm = p_nm + t_m (pooled steps and the modality's own vector), then two relational layers: (N, M, D).

    A node per utterance and modality, edges between the modalities of one utterance and between the utterances of
    one modality, as in MMGCN (Hu et al. 2021); typed by speaker and direction in a window, as in DialogueGCN
    (Ghosal et al. 2019). Ours: an absent node starts as its absent token, hears its neighbours and says nothing.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, dropout: float):
        super().__init__()
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.kind = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(dim)) for m in modalities})
        self.layers = nn.ModuleList(RelationalLayer(dim, len(modalities), dropout) for _ in range(LAYERS))

    def forward(self, latents: Latents, causal: bool) -> Tensor:
        edges = relations(latents.place, latents.speaker, causal)
        nodes = torch.stack([pooled + self.kind[m] for m, pooled in latents.pooled(self.pools).items()], 1)
        for layer in self.layers:
            nodes = layer(nodes, edges, latents.present)
        return nodes


class Graph(nn.Module):
    """u_n = Dropout(ReLU(W [h_n1; ...; h_nM] + b)) of the graph's nodes h."""

    def __init__(
        self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, roles: int, fused: int
    ):
        super().__init__()
        self.nodes = Nodes(modalities, dim, dropout)
        self.mix, self.dropout = nn.Linear(len(modalities) * dim, fused), Dropout(dropout)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        nodes = self.nodes(latents, causal)
        return self.dropout(torch.relu(self.mix(nodes.flatten(1)))), {}


class RelationalLayer(nn.Module):
    """h'_nm = LayerNorm(h_nm + Dropout(ReLU(W_0 h_nm + sum_r mean_{j in N_r(n)} W_r h_jm + mean_{k!=m} W_x h_nk)))

    R-GCN (Schlichtkrull et al. 2018) with residual and norm; the means are over nodes that are present.
    """

    def __init__(self, dim: int, modalities: int, dropout: float):
        super().__init__()
        self.itself = nn.Linear(dim, dim)
        self.along = nn.Linear(RELATIONS * dim, dim, bias=False)  # [W_1 ... W_R]
        self.across = nn.Linear(dim, dim, bias=False) if modalities > 1 else None
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)

    def forward(self, nodes: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        here = present.unsqueeze(-1).to(nodes.dtype)
        said = nodes * here  # (N, M, D)
        news = self.itself(nodes) + self.along(_neighbours(said, edges, here))
        if self.across is not None:
            others, count = said.sum(1, keepdim=True) - said, here.sum(1, keepdim=True) - here
            news = news + self.across(others / count.clamp(min=1))
        return self.norm(nodes + self.dropout(torch.relu(news)))


def relations(place: Tensor, speaker: Tensor, causal: bool) -> Tensor:
    """(R, N, N) of 0 and 1: does utterance n hear j as same or other speaker, earlier or later."""
    dialogue, turn = place.unbind(1)
    gap = turn.unsqueeze(1) - turn
    near = (dialogue.unsqueeze(1) == dialogue) & (gap.abs() <= WINDOW)
    same = speaker.unsqueeze(1) == speaker
    earlier, later = near & (gap > 0), near & (gap < 0)
    later = torch.zeros_like(later) if causal else later
    return torch.stack([earlier & same, earlier & ~same, later & same, later & ~same]).float()


def _neighbours(said: Tensor, edges: Tensor, here: Tensor) -> Tensor:
    """(N, M, R D): the mean over each relation's present neighbours, 0 where it has none."""
    total, count = torch.einsum("rnj,jmd->nmrd", edges, said), torch.einsum("rnj,jmo->nmro", edges, here)
    return (total / count.clamp(min=1)).flatten(2)

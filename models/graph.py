"""Fusion by a graph of the conversation: a node per utterance and modality."""

import torch
from torch import Tensor, nn

from models.blocks import by_dialogues
from models.latents import Latents
from models.misls import AttentionPool

WINDOW = 10  # turns that an edge may span, each way, as in DialogueGCN
RELATIONS = 4  # same speaker or another, earlier or later
LAYERS = 2


class GraphNodes(nn.Module):
    """h_nm = p_nm + t_m (pooled steps, learned vector of the modality), then two relational layers: (N, M, D).

    A node per utterance and modality, edges between the modalities of one utterance and between the utterances of
    one modality, as in MMGCN (Hu et al. 2021); typed by speaker and direction in a window, as in DialogueGCN
    (Ghosal et al. 2019). Ours: an absent node starts as its absent token, receives messages and sends none.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, dropout: float):
        super().__init__()
        self.pools = nn.ModuleDict({m: AttentionPool(dim) for m in modalities})
        self.kind = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(dim)) for m in modalities})
        self.layers = nn.ModuleList(RelationalLayer(dim, len(modalities), dropout) for _ in range(LAYERS))

    def forward(self, latents: Latents, causal: bool) -> Tensor:
        nodes = torch.stack([pooled + self.kind[m] for m, pooled in latents.pooled(self.pools).items()], 1)

        def through_layers(position: Tensor, speaker: Tensor, nodes: Tensor, present: Tensor) -> Tensor:
            edges = relation_masks(position, speaker, causal)
            for layer in self.layers:
                nodes = layer(nodes, edges, present)
            return nodes

        return by_dialogues(through_layers, latents.position, latents.speaker, nodes, latents.present)


class Graph(nn.Module):
    """u_n = Dropout(ReLU(W [h_n1; ...; h_nM] + b)), h the graph's nodes."""

    def __init__(self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, fused: int):
        super().__init__()
        self.nodes = GraphNodes(modalities, dim, dropout)
        self.mix, self.dropout = nn.Linear(len(modalities) * dim, fused), nn.Dropout(dropout)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        nodes = self.nodes(latents, causal)
        return self.dropout(torch.relu(self.mix(nodes.flatten(1)))), {}


class RelationalLayer(nn.Module):
    """h'_nm = LayerNorm(h_nm + Dropout(ReLU(W_0 h_nm + sum_r mean_{j in N_r(n)} W_r h_jm + mean_{k!=m} W_x h_nk)))

    R-GCN (Schlichtkrull et al. 2018) with residual and norm; the means are over present nodes.
    """

    def __init__(self, dim: int, modalities: int, dropout: float):
        super().__init__()
        self.itself = nn.Linear(dim, dim)
        self.along = nn.Linear(RELATIONS * dim, dim, bias=False)  # [W_1 ... W_R]
        self.across = nn.Linear(dim, dim, bias=False) if modalities > 1 else None
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, nodes: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        is_present = present.unsqueeze(-1).to(nodes.dtype)  # (N, M, 1)
        messages = nodes * is_present  # (N, M, D)
        update = self.itself(nodes) + self.along(_neighbour_means(messages, edges, is_present))
        if self.across is not None:
            others = messages.sum(1, keepdim=True) - messages
            count = is_present.sum(1, keepdim=True) - is_present
            update = update + self.across(others / count.clamp(min=1))
        return self.norm(nodes + self.dropout(torch.relu(update)))


def relation_masks(position: Tensor, speaker: Tensor, causal: bool) -> Tensor:
    """(R, N, N) of 0 and 1: the edges from utterance j to n, by same or other speaker of j, earlier or later."""
    dialogue, turn = position.unbind(1)
    gap = turn.unsqueeze(1) - turn
    is_near = (dialogue.unsqueeze(1) == dialogue) & (gap.abs() <= WINDOW)
    is_same = speaker.unsqueeze(1) == speaker
    is_earlier, is_later = is_near & (gap > 0), is_near & (gap < 0)
    is_later = torch.zeros_like(is_later) if causal else is_later
    return torch.stack(
        [is_earlier & is_same, is_earlier & ~is_same, is_later & is_same, is_later & ~is_same]
    ).float()


def _neighbour_means(messages: Tensor, edges: Tensor, is_present: Tensor) -> Tensor:
    """(N, M, R D): the mean over each relation's present neighbours, 0 where it has none."""
    total = torch.einsum("rnj,jmd->nmrd", edges, messages)
    count = torch.einsum("rnj,jmo->nmro", edges, is_present)
    return (total / count.clamp(min=1)).flatten(2)

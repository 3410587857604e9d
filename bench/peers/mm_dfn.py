"""MM-DFN: Hu, Hou, Wei, Jiang, Mo. MM-DFN: Multimodal Dynamic Fusion Network for Emotion Recognition in
Conversations. ICASSP 2022. Nodes of 200 (a bidirectional LSTM of 100 for text, linear maps for sound and pictures),
a graph of width 100, 16 layers, alpha 0.2, lambda 0.5, batches of 32 dialogues.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HIDDEN, GRAPH, LAYERS = 100, 100, 16
ALPHA, LAMBDA = 0.2, 0.5
PARTIES = 9  # of MELD
DROPOUT = 0.4


class GraphLayer(nn.Module):
    """Graph-based dynamic fusion: a graph convolution with initial residual and identity map, and a gated memory.

    h' = ReLU(((1 - a) P h + a h_0) ((1 - b_l) I + b_l W)),  b_l = log(lambda / l + 1)
    u, f, o = sigmoid(W_uf [g; h'] ...),  c = f c + u tanh(W_c [g; h']),  g = o tanh(c);  the next h is h' + g.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.share = math.log(LAMBDA / number + 1)
        self.weight = nn.Linear(GRAPH, GRAPH, bias=False)

    def forward(self, edges: Tensor, h: Tensor, first: Tensor) -> Tensor:
        mixed = (1 - ALPHA) * (edges @ h) + ALPHA * first
        return torch.relu((1 - self.share) * mixed + self.share * self.weight(mixed))


class MMDFN(nn.Module):
    """A node per utterance and modality; edges among a modality's utterances and an utterance's modalities."""

    def __init__(self, widths: dict[str, int], classes: int) -> None:
        super().__init__()
        self.text = nn.LSTM(widths["text"], HIDDEN, batch_first=True, bidirectional=True)
        self.maps = nn.ModuleDict({m: nn.Linear(width, 2 * HIDDEN) for m, width in widths.items() if m != "text"})
        self.speaker = nn.Embedding(PARTIES, 2 * HIDDEN)
        self.enter = nn.Linear(2 * HIDDEN, GRAPH)
        self.layers = nn.ModuleList(GraphLayer(number) for number in range(1, LAYERS + 1))
        self.gates = nn.Linear(2 * GRAPH, 4 * GRAPH)  # shared by the layers, as the paper's recurrence over them
        self.head = nn.Linear(len(widths) * (GRAPH + 2 * HIDDEN), classes)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, features: dict[str, Tensor], speaker: Tensor, lengths: Tensor) -> Tensor:
        nodes = torch.stack([self._nodes(m, x, lengths) for m, x in features.items()], 1)  # (B, M, T, 2 HIDDEN)
        nodes = nodes + self.speaker(speaker.clamp(max=PARTIES - 1)).unsqueeze(1)
        real = torch.arange(nodes.shape[2]) < lengths.unsqueeze(1)
        flat = nodes.flatten(1, 2)
        edges = adjacency(flat, real.repeat(1, nodes.shape[1]), nodes.shape[1])
        fused = self._fuse(edges, torch.relu(self.enter(self.dropout(flat))))
        both = torch.cat([fused, flat], -1).unflatten(1, nodes.shape[1:3])
        return self.head(self.dropout(torch.relu(both.transpose(1, 2).flatten(2))))

    def _nodes(self, modality: str, x: Tensor, lengths: Tensor) -> Tensor:
        if modality != "text":
            return self.maps[modality](x)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.text(packed)[0], batch_first=True, total_length=x.shape[1])[0]

    def _fuse(self, edges: Tensor, first: Tensor) -> Tensor:
        h, memory, state = first, torch.zeros_like(first), torch.zeros_like(first)
        for layer in self.layers:
            h = layer(edges, self.dropout(h), first)
            update, forget, output, new = self.gates(torch.cat([state, h], -1)).chunk(4, -1)
            memory = forget.sigmoid() * memory + update.sigmoid() * new.tanh()
            state = output.sigmoid() * memory.tanh()
            h = h + state
        return h


def adjacency(nodes: Tensor, real: Tensor, modalities: int) -> Tensor:
    """(B, M T, M T) D^-1/2 A D^-1/2, A = 1 - arccos(cosine) / pi where two nodes are joined (Hu et al. 2021)."""
    turns = nodes.shape[1] // modalities
    index = torch.arange(nodes.shape[1])
    modality, turn = index // turns, index % turns
    joined = (modality.unsqueeze(1) == modality) | (turn.unsqueeze(1) == turn)
    unit = functional.normalize(nodes, dim=-1)
    cosine = (unit @ unit.transpose(1, 2)).clamp(-0.99999, 0.99999)
    weights = (1 - cosine.arccos() / math.pi) * joined * real.unsqueeze(1) * real.unsqueeze(2)
    degree = weights.sum(-1).clamp(min=1e-8).rsqrt()
    return degree.unsqueeze(2) * weights * degree.unsqueeze(1)

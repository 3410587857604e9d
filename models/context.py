"""Contexts: modules that relate an utterance to the other utterances of its dialogue.

Inputs: utterance vectors x (N, D), the position (N, 2) of each utterance (index of its dialogue, turn in it), and
the size (number of dialogues, turns of the longest).
"""

import torch
from torch import Tensor, nn

from models.sequences import step_mask

HEADS = 4
LAYERS = 2


def to_dialogues(vectors: Tensor, position: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Scatter utterances (N, D) into zero-padded dialogues (B, T, D), `size` = (B, T); also their lengths (B,)."""
    dialogues, turns = size
    grid = vectors.new_zeros(dialogues, turns, vectors.shape[1]).index_put(tuple(position.unbind(1)), vectors)
    # lengths by comparison: exported to ONNX, a scatter-add would add each index only once
    return grid, (position[:, 0] == torch.arange(dialogues, device=position.device).unsqueeze(1)).sum(1)


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """Sinusoidal position encoding (..., dim): sin and cos of position / 10000^(2k / dim) (Vaswani et al. 2017)."""
    rate = 10000.0 ** (-torch.arange(0, dim, 2, device=positions.device) / dim)
    angle = positions.unsqueeze(-1) * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


def feed_forward(dim: int, dropout: float) -> nn.Sequential:
    """FFN(x) = Dropout(W2 Dropout(ReLU(W1 x)))."""
    hidden = 2 * dim
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
    )


class NoContext(nn.Module):
    """y_t = x_t: no context."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()

    def forward(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        return x


class GRUContext(nn.Module):
    """y_t = x_t + W [GRU_a(x_1..x_t); GRU_b(x_T..x_t)], a bidirectional GRU (Cho et al. 2014) with a residual.

    Causal: GRU_b reads forwards too. The reversal respects each dialogue's length, so padding is never read first.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.ahead, self.back = nn.GRU(dim, dim, batch_first=True), nn.GRU(dim, dim, batch_first=True)
        self.out, self.dropout = nn.Linear(2 * dim, dim), nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        grid, lengths = to_dialogues(x, position, size)
        forwards = torch.arange(size[1], device=x.device).expand(size)
        backwards = torch.where(step_mask(lengths, size[1]), lengths.unsqueeze(1) - 1 - forwards, forwards)
        # reading forwards, the gather changes nothing, but without it an export to ONNX fixes the number of turns
        ahead, back = _run(self.ahead, grid, forwards), _run(self.back, grid, forwards if causal else backwards)
        states = torch.cat([ahead, back], -1)[position[:, 0], position[:, 1]]  # (N, 2 D)
        return x + self.dropout(self.out(states))


def _run(gru: nn.GRU, x: Tensor, order: Tensor) -> Tensor:
    """States (B, T, D), in turn order, of a GRU that reads the turns in `order` (B, T), an involution."""
    index = order.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return gru(x.gather(1, index))[0].gather(1, index)


class TransformerLayer(nn.Module):
    """x = x + MultiHead(LayerNorm(x)), y = x + FFN(LayerNorm(x)): a pre-norm encoder layer (Xiong et al. 2020)."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.attend = nn.MultiheadAttention(dim, HEADS, dropout, batch_first=True)
        self.feed = feed_forward(dim, dropout)
        self.first_norm, self.second_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, masked: Tensor | None, padding: Tensor) -> Tensor:
        """Dialogues (B, T, D) -> (B, T, D); masked (T, T) and padding (B, T) are True where nothing attends to."""
        query = self.first_norm(x)
        # copies: of one shared tensor PyTorch treats padding otherwise, and an export to ONNX fixes the turns
        key, value = query.clone(), query.clone()
        attended, _ = self.attend(query, key, value, padding, need_weights=False, attn_mask=masked)
        x = x + self.dropout(attended)
        return x + self.feed(self.second_norm(x))


class TransformerContext(nn.Module):
    """y = x + W Encoder(x + sinusoids(t)): pre-norm self-attention over the turns (Vaswani et al. 2017; Xiong et
    al. 2020), padding masked; causal: no attention to later turns. Ours: a residual around the encoder.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dim, dropout) for _ in range(LAYERS))
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        grid, lengths = to_dialogues(x, position, size)
        turn = torch.arange(size[1], device=x.device)
        masked = turn > turn.unsqueeze(1) if causal else None  # (T, T), True: no attention
        encoded, padding = grid + sinusoids(turn, x.shape[-1]), ~step_mask(lengths, size[1])
        for layer in self.layers:
            encoded = layer(encoded, masked, padding)
        return x + self.out(self.norm(encoded))[position[:, 0], position[:, 1]]


CONTEXTS = {"none": NoContext, "gru": GRUContext, "transformer": TransformerContext}

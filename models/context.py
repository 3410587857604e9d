"""Contexts: modules that relate an utterance to the other utterances of its dialogue.

Inputs: utterance vectors x (N, D), the position (N, 2) of each utterance (index of its dialogue, turn in it), and
the size (number of dialogues, turns of the longest).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from models.dropout import Dropout
from models.stems import step_mask

HEADS = 4
LAYERS = 2
# the fast path computes padded rows differently from training, and its ONNX export is off by 0.2
torch.backends.mha.set_fastpath_enabled(False)


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
        self.out, self.dropout = nn.Linear(2 * dim, dim), Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        states = (self._packed if self.training else self._padded)(x, position, size, causal)
        return x + self.dropout(self.out(torch.cat(states, -1)))

    def _padded(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> list[Tensor]:
        """States (N, D) of both GRUs over padded dialogues.

        Read forwards the gather changes nothing, but without it an export to ONNX fixes the number of turns.
        """
        grid, lengths = to_dialogues(x, position, size)
        forwards = torch.arange(size[1], device=x.device).expand(size)
        backwards = torch.where(step_mask(lengths, size[1]), lengths.unsqueeze(1) - 1 - forwards, forwards)
        orders = ((self.ahead, forwards), (self.back, forwards if causal else backwards))
        return [_run_padded(gru, grid, order)[position[:, 0], position[:, 1]] for gru, order in orders]

    def _packed(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> list[Tensor]:
        """As `_padded`, without padding, which can be three quarters of a padded batch."""
        (dialogue, turn), lengths = position.unbind(1), torch.bincount(position[:, 0], minlength=size[0])
        rank = lengths.argsort(descending=True, stable=True).argsort()[dialogue]  # 0: in the longest dialogue
        remaining, batch_sizes = lengths[dialogue] - 1 - turn, torch.bincount(turn).cpu()
        steps = ((self.ahead, turn), (self.back, turn if causal else remaining))
        return [_run_packed(gru, x, (step * size[0] + rank).argsort(), batch_sizes) for gru, step in steps]


def _run_padded(gru: nn.GRU, x: Tensor, order: Tensor) -> Tensor:
    """States (B, T, D), in turn order, of a GRU that reads the turns in `order` (B, T), an involution."""
    index = order.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return gru(x.gather(1, index))[0].gather(1, index)


def _run_packed(gru: nn.GRU, x: Tensor, order: Tensor, batch_sizes: Tensor) -> Tensor:
    """States (N, D) of a GRU that reads x (N, D) in `order`; step t reads `batch_sizes[t]` dialogues (T,)."""
    states = gru(PackedSequence(x.index_select(0, order), batch_sizes))[0].data
    return states.index_select(0, order.argsort())


class ExportableLayer(nn.TransformerEncoderLayer):
    """PyTorch's layer, but key and value are copies: one shared tensor would fix the turns of an ONNX export."""

    def _sa_block(
        self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False
    ) -> Tensor:
        output, _ = self.self_attn(x, x.clone(), x.clone(), key_padding_mask, False, attn_mask, is_causal=is_causal)
        return self.dropout1(output)


class TransformerContext(nn.Module):
    """y = x + W Encoder(x + sinusoids(t)): pre-norm self-attention over the turns (Vaswani et al. 2017; Xiong et
    al. 2020), padding masked; causal: no attention to later turns. Ours: a residual around the encoder.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        layer = ExportableLayer(dim, HEADS, 2 * dim, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, position: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        grid, lengths = to_dialogues(x, position, size)
        turn = torch.arange(size[1], device=x.device)
        masked = turn > turn.unsqueeze(1) if causal else None  # (T, T), True: no attention
        encoded = self.encoder(
            grid + sinusoids(turn, x.shape[-1]), masked, src_key_padding_mask=~step_mask(lengths, size[1])
        )
        return x + self.out(encoded)[position[:, 0], position[:, 1]]


CONTEXTS = {"none": NoContext, "gru": GRUContext, "transformer": TransformerContext}

"""Contexts: what an utterance means among the other utterances of its dialogue.

They take utterances (N, D), the place (N, 2) of each, dialogue and turn, and the size (dialogues, most turns).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from models.dropout import Dropout
from models.stems import within

HEADS = 4
LAYERS = 2
# the fast path computes padded rows otherwise than training does, and exports 0.2 off
torch.backends.mha.set_fastpath_enabled(False)


def to_dialogues(vectors: Tensor, place: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(N, D) utterances -> `size` = (B, T) dialogues (B, T, D), zero-padded, and their lengths (B,)."""
    dialogues, turns = size
    grid = vectors.new_zeros(dialogues, turns, vectors.shape[1]).index_put(tuple(place.unbind(1)), vectors)
    # counted by comparison: an export to ONNX would add each index once
    return grid, (place[:, 0] == torch.arange(dialogues, device=place.device).unsqueeze(1)).sum(1)


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """(..., dim): sin and cos of position / 10000^(2k / dim) (Vaswani et al. 2017)."""
    rate = 10000.0 ** (-torch.arange(0, dim, 2, device=positions.device) / dim)
    angle = positions.unsqueeze(-1) * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


class Alone(nn.Module):
    """y_t = x_t: every utterance for itself."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()

    def forward(self, x: Tensor, place: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        return x


class GRU(nn.Module):
    """y_t = x_t + W [GRU_a(x_1..x_t); GRU_b(x_T..x_t)], a bidirectional GRU (Cho et al. 2014) that x passes by.

    Causal: GRU_b reads forwards too. Reversed within each dialogue's own length: padding is never read first.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.ahead, self.back = nn.GRU(dim, dim, batch_first=True), nn.GRU(dim, dim, batch_first=True)
        self.out, self.dropout = nn.Linear(2 * dim, dim), Dropout(dropout)

    def forward(self, x: Tensor, place: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        states = (self._packed if self.training else self._padded)(x, place, size, causal)
        return x + self.dropout(self.out(torch.cat(states, -1)))

    def _padded(self, x: Tensor, place: Tensor, size: tuple[int, int], causal: bool) -> list[Tensor]:
        """Read forwards the gather changes nothing, but without it an export to ONNX fixes the number of turns."""
        grid, lengths = to_dialogues(x, place, size)
        forwards = torch.arange(size[1], device=x.device).expand(size)
        backwards = torch.where(within(lengths, size[1]), lengths.unsqueeze(1) - 1 - forwards, forwards)
        orders = ((self.ahead, forwards), (self.back, forwards if causal else backwards))
        return [_read(gru, grid, order)[place[:, 0], place[:, 1]] for gru, order in orders]

    def _packed(self, x: Tensor, place: Tensor, size: tuple[int, int], causal: bool) -> list[Tensor]:
        """The same, without padding: of a batch padded to its longest dialogue, three quarters can be padding."""
        (dialogue, turn), lengths = place.unbind(1), torch.bincount(place[:, 0], minlength=size[0])
        shorter = lengths.argsort(descending=True, stable=True).argsort()[dialogue]  # 0: in the longest dialogue
        left, alive = lengths[dialogue] - 1 - turn, torch.bincount(turn).cpu()
        orders = ((self.ahead, turn), (self.back, turn if causal else left))
        return [_walk(gru, x, (at * size[0] + shorter).argsort(), alive) for gru, at in orders]


def _read(gru: nn.GRU, x: Tensor, order: Tensor) -> Tensor:
    """The states (B, T, D), each at its own turn, of a GRU that reads in this order, which is its own inverse."""
    index = order.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return gru(x.gather(1, index))[0].gather(1, index)


def _walk(gru: nn.GRU, x: Tensor, order: Tensor, alive: Tensor) -> Tensor:
    """The states (N, D) of a GRU that reads x (N, D) in this order, one turn of `alive` (T,) dialogues a step."""
    states = gru(PackedSequence(x.index_select(0, order), alive))[0].data
    return states.index_select(0, order.argsort())


class Layer(nn.TransformerEncoderLayer):
    """PyTorch's own; of one tensor for query, key and value an export to ONNX fixes the number of turns."""

    def _sa_block(self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal=False):
        answer, _ = self.self_attn(x, x.clone(), x.clone(), key_padding_mask, False, attn_mask, is_causal=is_causal)
        return self.dropout1(answer)


class Transformer(nn.Module):
    """y = x + W Encoder(x + sinusoids(t)): pre-norm self-attention over the turns (Vaswani et al. 2017; Xiong et
    al. 2020), padding masked; causal: no attention to later turns. Ours: x passes by the whole encoder.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        layer = Layer(dim, HEADS, 2 * dim, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, place: Tensor, size: tuple[int, int], causal: bool) -> Tensor:
        grid, lengths = to_dialogues(x, place, size)
        turn = torch.arange(size[1], device=x.device)
        hidden = turn > turn.unsqueeze(1) if causal else None  # (T, T): what a turn must not see
        encoded = self.encoder(
            grid + sinusoids(turn, x.shape[-1]), hidden, src_key_padding_mask=~within(lengths, size[1])
        )
        return x + self.out(encoded)[place[:, 0], place[:, 1]]


CONTEXTS = {"none": Alone, "gru": GRU, "transformer": Transformer}

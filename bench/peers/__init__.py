"""Networks of other papers, written from their equations, in the sizes that they were published with.

Each is `network(features {m: (B, T, D_m)}, speaker (B, T), lengths (B,)) -> logits (B, T, C)`: dialogues of T turns
at most, a vector per utterance and modality, which is all that these networks read.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from bench.peers.bc_lstm import BcLSTM, HierarchicalBcLSTM
from bench.peers.dialogue_rnn import DialogueRNN
from bench.peers.mm_dfn import MMDFN


class Peer(NamedTuple):
    """How to build the network, of the features' widths and the number of classes, and its published batch."""

    build: Callable[[dict[str, int], int], nn.Module]
    batch: int  # dialogues


PEERS = {
    "bc-lstm": Peer(BcLSTM, 10),
    "bc-lstm-hierarchical": Peer(HierarchicalBcLSTM, 10),
    "dialogue-rnn": Peer(DialogueRNN, 30),
    "mm-dfn": Peer(MMDFN, 32),
}

"""bc-LSTM: Poria, Cambria, Hazarika, Majumder, Zadeh, Morency. Context-Dependent Sentiment Analysis in
User-Generated Videos. ACL 2017. Hidden states of 300, dense layers of 100, batches of 10 dialogues.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HIDDEN, DENSE = 300, 100
DROPOUT = 0.5


class ContextualLSTM(nn.Module):
    """z_t = ReLU(W [LSTM(x_1..x_t); LSTM(x_T..x_t)] + b), the paper's bidirectional contextual LSTM."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, HIDDEN, batch_first=True, bidirectional=True)
        self.dense, self.dropout = nn.Linear(2 * HIDDEN, DENSE), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Dialogues (B, T, width) -> (B, T, DENSE)."""
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return torch.relu(self.dense(self.dropout(states)))


class BcLSTM(nn.Module):
    """The paper's framework without hierarchy: one contextual LSTM over all modalities side by side."""

    def __init__(self, widths: dict[str, int], classes: int) -> None:
        super().__init__()
        self.context, self.head = ContextualLSTM(sum(widths.values())), nn.Linear(DENSE, classes)

    def forward(self, features: dict[str, Tensor], speaker: Tensor, lengths: Tensor) -> Tensor:
        return self.head(self.context(torch.cat([*features.values()], -1), lengths))


class HierarchicalBcLSTM(nn.Module):
    """The paper's hierarchy: a contextual LSTM for each modality, and one over their results side by side."""

    def __init__(self, widths: dict[str, int], classes: int) -> None:
        super().__init__()
        self.single = nn.ModuleDict({modality: ContextualLSTM(width) for modality, width in widths.items()})
        self.fused, self.head = ContextualLSTM(len(widths) * DENSE), nn.Linear(DENSE, classes)

    def forward(self, features: dict[str, Tensor], speaker: Tensor, lengths: Tensor) -> Tensor:
        single = [self.single[modality](x, lengths) for modality, x in features.items()]
        return self.head(self.fused(torch.cat(single, -1), lengths))

"""DialogueRNN: Majumder, Poria, Hazarika, Mihalcea, Gelbukh, Cambria. DialogueRNN: An Attentive RNN for Emotion
Detection in Conversations. AAAI 2019. For MELD: global and party states of 150, emotion states of 100, a head of
100, batches of 30 dialogues. The variant BiDialogueRNN+Att, listeners unchanged.
"""

import torch
from torch import Tensor, nn

GLOBAL, PARTY, EMOTION, HEAD = 150, 150, 100, 100
PARTIES = 9  # of MELD
DROPOUT = 0.1


class OneWay(nn.Module):
    """g_t = GRU_G(g_t-1, [u_t; q_s,t-1]),  c_t = sum_j softmax_j(u_t W g_j) g_j over j < t,
    q_s,t = GRU_P(q_s,t-1, [u_t; c_t]),  e_t = GRU_E(e_t-1, q_s,t);  s is who speaks at t.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.overall = nn.GRUCell(width + PARTY, GLOBAL)
        self.party = nn.GRUCell(width + GLOBAL, PARTY)
        self.emotion = nn.GRUCell(PARTY, EMOTION)
        self.attend, self.dropout = nn.Linear(width, GLOBAL, bias=False), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        """Utterances (B, T, width), who speaks (B, T) -> emotion states (B, T, EMOTION)."""
        rows = torch.arange(len(x))
        parties = x.new_zeros(len(x), PARTIES, PARTY)
        overall, emotion = x.new_zeros(len(x), GLOBAL), x.new_zeros(len(x), EMOTION)
        earlier: list[Tensor] = []
        states = []
        for turn in range(x.shape[1]):
            spoken, who = x[:, turn], speaker[:, turn]
            own = parties[rows, who]
            context = self._context(spoken, earlier)
            overall = self.dropout(self.overall(torch.cat([spoken, own], 1), overall))
            own = self.dropout(self.party(torch.cat([spoken, context], 1), own))
            parties = parties.index_put((rows, who), own)
            emotion = self.dropout(self.emotion(own, emotion))
            earlier.append(overall)
            states.append(emotion)
        return torch.stack(states, 1)

    def _context(self, spoken: Tensor, earlier: list[Tensor]) -> Tensor:
        """(B, GLOBAL): the earlier global states by attention; 0 at the first turn."""
        if not earlier:
            return spoken.new_zeros(len(spoken), GLOBAL)
        states = torch.stack(earlier, 1)
        weights = (states @ self.attend(spoken).unsqueeze(2)).softmax(1)
        return (weights.transpose(1, 2) @ states).squeeze(1)


class DialogueRNN(nn.Module):
    """Both directions, then attention of each turn's emotion state over all of its dialogue's, and a head."""

    def __init__(self, widths: dict[str, int], classes: int) -> None:
        super().__init__()
        width = sum(widths.values())
        self.ahead, self.back = OneWay(width), OneWay(width)
        self.match = nn.Linear(2 * EMOTION, 2 * EMOTION)
        self.hidden, self.head = nn.Linear(2 * EMOTION, HEAD), nn.Linear(HEAD, classes)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, features: dict[str, Tensor], speaker: Tensor, lengths: Tensor) -> Tensor:
        x, who = torch.cat([*features.values()], -1), speaker.clamp(max=PARTIES - 1)
        turn = torch.arange(x.shape[1])
        real = turn < lengths.unsqueeze(1)
        backwards = torch.where(real, lengths.unsqueeze(1) - 1 - turn, turn)
        reversed_x = x.gather(1, backwards.unsqueeze(2).expand_as(x))
        back = self.back(reversed_x, who.gather(1, backwards))
        back = back.gather(1, backwards.unsqueeze(2).expand_as(back))
        states = self.dropout(torch.cat([self.ahead(x, who), back], -1))
        scores = self.match(states) @ states.transpose(1, 2)
        attended = scores.masked_fill(~real.unsqueeze(1), torch.finfo(x.dtype).min).softmax(-1) @ states
        return self.head(self.dropout(torch.relu(self.hidden(attended))))

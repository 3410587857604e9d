"""What a fusion is told of a batch."""

from typing import NamedTuple

from torch import Tensor, nn


class Latents(NamedTuple):
    """N utterances, whole dialogues, turn by turn."""

    z: dict[str, Tensor]  # {m: (N, S_m, D)}: MISLS's sequences
    steps: dict[str, Tensor]  # {m: (N,)}: how many steps of them are real
    present: Tensor  # (N, M) bool
    odd: Tensor  # (N, M): how far each modality is from the training split, see standards.oddity
    place: Tensor  # (N, 2): dialogue and turn
    speaker: Tensor  # (N,): role in the dialogue

    def pooled(self, pools: nn.ModuleDict) -> dict[str, Tensor]:
        """{m: (N, D)}: each modality's steps through its own pool."""
        return {m: pool(self.z[m], self.steps[m]) for m, pool in pools.items()}

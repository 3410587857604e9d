"""The inputs of a fusion: latent sequences of a batch, with presence, position and speaker."""

from typing import NamedTuple

from torch import Tensor, nn


class Latents(NamedTuple):
    """N utterances: whole dialogues, turn by turn; M modalities m."""

    z: dict[str, Tensor]  # {m: (N, S_m, D)}: latent sequences of MISLS
    steps: dict[str, Tensor]  # {m: (N,)}: number of real steps, padding excluded
    present: Tensor  # (N, M) bool
    deviation: Tensor  # (N, M): feature deviation of each modality (models/standardise.py)
    position: Tensor  # (N, 2): dialogue and turn
    speaker: Tensor  # (N,): role in the dialogue

    def pooled(self, pools: nn.ModuleDict) -> dict[str, Tensor]:
        """{m: (N, D)}: each modality's steps, pooled by the modality's pool."""
        return {m: pool(self.z[m], self.steps[m]) for m, pool in pools.items()}

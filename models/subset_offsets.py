"""Offsets of logits by the subset of the modalities that an utterance has."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class SubsetOffsets(nn.Module):
    """logits'_n = logits_n - o_s(n), s the subset of the modalities present, o a table (2^M, C) for each task.

    With less to go on a network answers the frequent classes more often; an offset by the logarithm of how much
    more often takes that back, as logit adjustment does for class frequencies (Menon et al. 2021). Without a table,
    and with every modality there, logits stay as they are. A checkpoint has the tables that were filled.
    """

    def __init__(self, num_modalities: int, labels: dict[str, tuple[str, ...]], filled: Iterable[str] = ()):
        """`filled`: the tasks that have a table."""
        super().__init__()
        self.fill({task: torch.zeros(2**num_modalities, len(labels[task])) for task in filled})

    @property
    def filled(self) -> list[str]:
        """The tasks that have a table."""
        return list(self._buffers)

    def fill(self, tables: dict[str, Tensor]) -> None:
        """Set the tables (2^M, C) of these tasks."""
        for task, table in tables.items():
            self.register_buffer(task, table)

    def forward(self, outputs: dict[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        if not self._buffers:
            return outputs
        subset = subset_numbers(present)
        tables = dict(self.named_buffers())
        return {task: one - tables[task][subset] if task in tables else one for task, one in outputs.items()}


def subset_numbers(present: Tensor) -> Tensor:
    """(N,) the number of the subset present (N, M): the sum of 2^m over its modalities m."""
    return (present.long() * 2 ** torch.arange(present.shape[1], device=present.device)).sum(1)

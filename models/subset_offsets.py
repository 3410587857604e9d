"""Offsets of logits by the subset of the modalities that an utterance has."""

from typing import Any

import torch
from torch import Tensor, nn


class SubsetOffsets(nn.Module):
    """logits'_n = logits_n - o_s(n), s the subset of the modalities present, o a table (2^M, C) for each task.

    With less to go on a network answers the frequent classes more often; an offset by the logarithm of how much
    more often takes that back, as logit adjustment does for class frequencies (Menon et al. 2021). Without a table,
    and with every modality there, logits stay as they are. A checkpoint has the tables that were filled.
    """

    def __init__(self, num_modalities: int, labels: dict[str, tuple[str, ...]]):
        super().__init__()
        self.num_modalities, self.labels = num_modalities, labels

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

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **keywords: Any
    ) -> None:
        for task, names in self.labels.items():
            table = state_dict.get(prefix + task)
            if table is not None and table.shape == (2**self.num_modalities, len(names)):
                self.register_buffer(task, torch.zeros_like(table))
        load: Any = super()._load_from_state_dict  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        load(state_dict, prefix, *arguments, **keywords)


def subset_numbers(present: Tensor) -> Tensor:
    """(N,) the number of the subset present (N, M): the sum of 2^m over its modalities m."""
    return (present.long() * 2 ** torch.arange(present.shape[1], device=present.device)).sum(1)

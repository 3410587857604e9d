"""Training on a fraction of the labels: a random subset of dialogues keeps its labels, the others lose theirs.

The subset depends on the seed and the dialogues' ids only, and a larger fraction contains every smaller one.
"""

import hashlib
import math
from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from merc.data.batches.dataset import Split, dialogue_keys, without_labels
from merc.runtime import params

Fraction = Annotated[float, Field(gt=0, le=1)]


class LabelSubset(NamedTuple):
    """Which training labels are kept."""

    fraction: float  # of the dialogues of each corpus
    seed: int

    def rows(self, manifest: pd.DataFrame) -> np.ndarray:
        """(N,) bool: the rows whose labels are kept."""
        keys = dialogue_keys(manifest)
        dialogues = pd.DataFrame({"corpus": manifest["corpus"], "key": keys}).drop_duplicates()
        corpora = dialogues.groupby("corpus", sort=False)
        kept = {key for _, corpus in corpora for key in self._sample(corpus["key"].tolist())}
        return keys.isin(kept).to_numpy(copy=True)

    def hide_labels(self, train: Split) -> Split:
        """Copy of the split with all other labels removed."""
        if self.fraction == 1.0:
            return train
        kept = torch.from_numpy(self.rows(train.manifest)).to(train.present.device)
        targets, votes = (
            {task: without_labels(values, kept) for task, values in one.items()}
            for one in (train.targets, train.votes)
        )
        return replace(train, targets=targets, votes=votes)

    def _sample(self, keys: list[str]) -> list[str]:
        """Draw the fraction of a corpus's dialogues, pseudorandomly by the hash of seed and key."""
        order = sorted(keys, key=lambda key: hashlib.sha256(f"{self.seed}/{key}".encode()).digest())
        return order[: math.ceil(self.fraction * len(order) - 1e-9)]


ALL_LABELS = LabelSubset(1.0, 0)


def read() -> float:
    """Read `data.label_fraction`, a parameter of the stages that learn from labels (not of pretrain)."""
    return params.read("data.label_fraction", Fraction)

"""Learning from a part of the labels: whole dialogues keep theirs, drawn by name, the same ones for a seed.

A larger fraction keeps what a smaller one keeps. The other utterances stay, without labels.
"""

import hashlib
import math
from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from merc import params
from merc.batches import Split
from merc.labels import UNLABELLED

Fraction = Annotated[float, Field(gt=0, le=1)]


class Labelled(NamedTuple):
    """Which training labels are known."""

    fraction: float  # of the dialogues of each corpus
    seed: int

    def rows(self, manifest: pd.DataFrame) -> np.ndarray:
        """(N,) bool: the rows whose labels are kept."""
        keys = manifest["corpus"] + "/" + manifest["dialogue"]
        named = pd.DataFrame({"corpus": manifest["corpus"], "key": keys}).drop_duplicates()
        kept = {key for _, own in named.groupby("corpus", sort=False) for key in self._drawn(own["key"].tolist())}
        return keys.isin(kept).to_numpy()

    def thin(self, train: Split) -> Split:
        """The split without the other labels."""
        if self.fraction == 1.0:
            return train
        kept = torch.from_numpy(self.rows(train.manifest)).to(train.present.device)
        targets = {task: torch.where(kept, target, UNLABELLED) for task, target in train.targets.items()}
        return replace(train, targets=targets)

    def _drawn(self, keys: list[str]) -> list[str]:
        order = sorted(keys, key=lambda key: hashlib.sha256(f"{self.seed}/{key}".encode()).digest())
        return order[: math.ceil(self.fraction * len(order) - 1e-9)]


EVERY = Labelled(1.0, 0)


def read() -> float:
    """`data.label_fraction`: read by what learns from labels, and so not by pretrain."""
    return params.read("data.label_fraction", Fraction)

"""Pairs of utterances, of which a batch of N has N x N, are looked at for some whole dialogues at once."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

MAX_ROWS = 2048  # of a batch that is not divided; 40 bytes a pair in training: 170 MB
BLOCK_ROWS = 256  # of a block of a larger one, unless one dialogue has more: 10 kB a row


def by_dialogues(function: Callable[..., Tensor], position: Tensor, *rows: Tensor) -> Tensor:
    """function(position, *rows), (N, ...) each, of which no dialogue depends on another.

    A large batch is divided into blocks of whole dialogues. An ONNX file does not divide: it gets windows of a
    dialogue (merc/serve/predictor/inference.py).
    """
    if torch.onnx.is_in_onnx_export() or len(position) <= MAX_ROWS:
        return function(position, *rows)
    sizes = _block_sizes(position[:, 0])
    parts = zip(*(torch.split(tensor, sizes) for tensor in (position, *rows)), strict=True)
    return torch.cat([function(*part) for part in parts])


def _block_sizes(dialogue: Tensor) -> list[int]:
    """How many rows each block has; `dialogue` (N,): the number of each row's dialogue, in ascending order."""
    sizes, counts = [0], cast("Any", torch.bincount(dialogue))
    for size in counts.tolist():
        if sizes[-1] and sizes[-1] + size > BLOCK_ROWS:
            sizes.append(0)
        sizes[-1] += size
    return sizes

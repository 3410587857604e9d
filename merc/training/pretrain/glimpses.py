"""Glimpses: a batch with parts of it hidden from the network, and the hidden parts that it has to predict.

Only `present` changes, as under every missing condition, and in `upcoming` the speakers of the turns to come.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

UTTERANCE_CHANCE = 0.3  # that an utterance is masked; BERT's 0.15 leaves most dialogues of 5 to 12 turns with one
MODALITY_CHANCE = 0.5  # that a modality of an utterance is hidden


class Glimpse(NamedTuple):
    """What the network sees of N utterances with M modalities, and what it has to predict."""

    present: Tensor  # (N, M) bool: what is left to see
    target: Tensor  # (N, M) bool: the hidden modalities whose latent vectors are to be predicted
    speaker: Tensor  # (N,) as far as it is known


def masked(batch: dict, generator: torch.Generator) -> Glimpse:
    """Whole utterances are hidden; their neighbours, on both sides, are left."""
    present = batch["present"]
    hidden = _uniform(len(present), 1, generator, present) < UTTERANCE_CHANCE
    return Glimpse(present & ~hidden, present & hidden, batch["speaker"])


def upcoming(batch: dict, generator: torch.Generator) -> Glimpse:
    """Each dialogue is cut before a turn drawn at random, the target; later turns and their speakers are hidden."""
    (dialogue, turn), present = batch["place"].unbind(1), batch["present"]
    lengths = torch.bincount(dialogue)
    drawn = _uniform(len(lengths), 1, generator, present).squeeze(1)
    cut = 1 + (drawn * (lengths - 1)).long().clamp(max=lengths - 2)  # of 1, ..., length - 1; a lone utterance: 0
    is_past, is_next = turn < cut[dialogue], (turn == cut[dialogue]) & (lengths[dialogue] > 1)
    first = lengths.cumsum(0) - lengths
    last_speaker = batch["speaker"][first + (cut - 1).clamp(min=0)][dialogue]
    target = present & is_next.unsqueeze(1)
    return Glimpse(present & is_past.unsqueeze(1), target, torch.where(is_past, batch["speaker"], last_speaker))


def hidden_modalities(batch: dict, generator: torch.Generator) -> Glimpse:
    """Modalities are hidden, at least one of an utterance is left; the hidden ones are the targets."""
    present: Tensor = batch["present"]
    rows, columns = present.shape
    order = _uniform(rows, columns, generator, present).masked_fill(~present, torch.inf)
    # the modality with the lowest number stays: of two or more, each other one is hidden by chance
    is_lowest = torch.zeros_like(present).scatter(1, order.argmin(1, keepdim=True), True)
    left = present & (is_lowest | (_uniform(rows, columns, generator, present) >= MODALITY_CHANCE))
    return Glimpse(left, present & ~left, batch["speaker"])


# batch, generator -> glimpse
GLIMPSES: dict[str, Callable[[dict, torch.Generator], Glimpse]] = {
    "masked": masked,
    "upcoming": upcoming,
    "hidden_modalities": hidden_modalities,
}


def _uniform(rows: int, columns: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """(rows, columns) uniform numbers in [0, 1), on the device of `like`; drawn on the CPU."""
    return torch.rand(rows, columns, generator=generator).to(like.device)

"""Which dialogues make up the batches of an epoch, and which of their utterances count in the loss."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from merc.batches import Split


class Draw(NamedTuple):
    """One batch."""

    dialogues: Tensor  # (B,) dialogue numbers
    count: Tensor | None  # (N,) how often each of the split's rows counts; None: every row of the batch, once


def shuffled(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[Draw]:
    """Every dialogue as often as its share says (0.5: in every other epoch, at random), in random order."""
    extra = torch.rand(len(share), generator=generator) < share % 1
    chosen = torch.repeat_interleave(torch.arange(len(share)), share.long() + extra)
    order = chosen[torch.randperm(len(chosen), generator=generator)]
    for dialogues in order.split(size):
        yield Draw(dialogues, None)


def weighted(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[Draw]:
    """Utterances by inverse frequency of their emotion; each comes with its dialogue, only the drawn ones count.

    Two steps draw each utterance exactly in proportion to its weight at the cost of ordinary batches: a
    dialogue by the sum of its utterances' weights, then in it, by weight, the mean number of utterances.
    """
    weights = utterance_weights(split) * share[_owner(split)]
    starts = split.starts.cpu()
    within = torch.zeros(split.dialogues).index_add(0, _owner(split), weights)
    each = max(1, round(len(split) / split.dialogues))
    batches = -(-int(share.sum()) // size)
    for dialogues in torch.multinomial(within, batches * size, True, generator=generator).split(size):
        count = torch.zeros(len(split))
        for dialogue in dialogues.tolist():
            rows = slice(starts[dialogue], starts[dialogue + 1])
            drawn = torch.multinomial(weights[rows], each, True, generator=generator)
            count[rows] += torch.bincount(drawn, minlength=rows.stop - rows.start)
        yield Draw(dialogues.unique(), count)


SAMPLINGS: dict[str, Callable[[Split, Tensor, int, torch.Generator], Iterator[Draw]]] = {
    "shuffled": shuffled,
    "weighted": weighted,
}


def utterance_weights(split: Split) -> Tensor:
    """(N,) 1 / frequency of the utterance's emotion; 0 without a label."""
    target = split.targets["emotion"].cpu()
    frequency = torch.bincount(target[target >= 0], minlength=len(split.labels["emotion"]))
    return torch.where(target >= 0, 1.0 / frequency.clamp(min=1)[target.clamp(min=0)], 0.0)


def shares(split: Split, share: dict[str, float]) -> Tensor:
    """(dialogues,) how often each dialogue is seen in an epoch, on average: its corpus's share."""
    corpora = split.manifest["corpus"].to_numpy()[split.starts[:-1].cpu().numpy()]
    return torch.tensor([share[corpus] for corpus in corpora])


def _owner(split: Split) -> Tensor:
    starts = split.starts.cpu()
    return torch.repeat_interleave(torch.arange(split.dialogues), starts.diff())

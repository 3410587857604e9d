"""Which dialogues make up the batches of an epoch, and which of their utterances count in the loss."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from merc.batches import Split
from merc.problem import Problem


class Draw(NamedTuple):
    """One batch."""

    dialogues: Tensor  # (B,) dialogue numbers
    count: Tensor | None  # (N,) how often each of the split's rows counts; None: every row of the batch, once


def shuffled(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[Draw]:
    """Every dialogue as often as its share says (0.5: in every other epoch, at random), in random order."""
    for dialogues in _in_random_order(share, generator).split(size):
        yield Draw(dialogues, None)


def stratified(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[Draw]:
    """As `shuffled`, but every batch has nearly the class proportions of the whole.

    Each dialogue in turn, the rarest emotions' first, joins the batch with room that its emotions bring nearest
    to an equal part of the whole (after iterative stratification, Sechidis et al. 2011).
    """
    order = _in_random_order(share, generator)
    classes = class_counts(split)[order]  # (chosen dialogues, C)
    rarity = (classes / classes.sum(0).clamp(min=1)).sum(1)
    number = -(-len(order) // size)
    room, wanted = torch.full((number,), size), (classes.sum(0) / number).repeat(number, 1)
    batches: list[list[int]] = [[] for _ in range(number)]
    for place in rarity.argsort(descending=True, stable=True).tolist():
        gain = (wanted.clamp(min=0) * classes[place]).sum(1).masked_fill(room == 0, -1.0)
        best = int(gain.argmax())
        batches[best].append(int(order[place]))
        room[best] -= 1
        wanted[best] -= classes[place]
    for index in torch.randperm(number, generator=generator).tolist():
        yield Draw(torch.tensor(batches[index]), None)


def _in_random_order(share: Tensor, generator: torch.Generator) -> Tensor:
    extra = torch.rand(len(share), generator=generator) < share % 1
    chosen = torch.repeat_interleave(torch.arange(len(share)), share.long() + extra)
    if not len(chosen):  # an epoch of nothing would teach nothing
        chosen = torch.multinomial(share, 1, generator=generator)
    return chosen[torch.randperm(len(chosen), generator=generator)]


def weighted(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[Draw]:
    """Utterances by inverse frequency of their emotion; each comes with its dialogue, only the drawn ones count.

    Two steps draw each utterance exactly in proportion to its weight at the cost of ordinary batches: a
    dialogue by the sum of its utterances' weights, then in it, by weight, the mean number of utterances.
    """
    weights = utterance_weights(split) * share[_owner(split)]
    starts = split.starts.cpu()
    within = torch.zeros(split.dialogues).index_add(0, _owner(split), weights)
    each = max(1, round(len(split) / split.dialogues))
    batches = -(-max(1, int(share.sum())) // size)
    for dialogues in torch.multinomial(within, batches * size, True, generator=generator).split(size):
        count = torch.zeros(len(split))
        for dialogue in dialogues.tolist():
            rows = slice(starts[dialogue], starts[dialogue + 1])
            drawn = torch.multinomial(weights[rows], each, True, generator=generator)
            count[rows] += torch.bincount(drawn, minlength=rows.stop - rows.start)
        yield Draw(dialogues.unique(), count)


SAMPLINGS: dict[str, Callable[[Split, Tensor, int, torch.Generator], Iterator[Draw]]] = {
    "shuffled": shuffled,
    "stratified": stratified,
    "weighted": weighted,
}


def class_counts(split: Split) -> Tensor:
    """(dialogues, C) how many utterances of each emotion a dialogue has."""
    target = split.targets["emotion"].cpu()
    known = (target >= 0).nonzero().squeeze(1)
    counts = torch.zeros(split.dialogues, len(split.labels["emotion"]))
    return counts.index_put((_owner(split)[known], target[known]), torch.ones(len(known)), accumulate=True)


def drawn_shares(split: Split, draws: Sequence[Draw]) -> dict[str, float]:
    """Each emotion's share of the labelled utterances that counted in these batches."""
    target = split.targets["emotion"].cpu()
    owner = _owner(split)
    rows = [
        torch.bincount(one.dialogues, minlength=split.dialogues)[owner] if one.count is None else one.count
        for one in draws
    ]
    total = torch.stack([one.float() for one in rows]).sum(0)
    known = target >= 0
    counted = torch.zeros(len(split.labels["emotion"])).index_add(0, target[known], total[known])
    shares = (counted / counted.sum().clamp(min=1)).tolist()
    return {f"drawn_{name}": one for name, one in zip(split.labels["emotion"], shares, strict=True)}


def utterance_weights(split: Split) -> Tensor:
    """(N,) 1 / frequency of the utterance's emotion; 0 without a label."""
    target = split.targets["emotion"].cpu()
    frequency = torch.bincount(target[target >= 0], minlength=len(split.labels["emotion"]))
    return torch.where(target >= 0, 1.0 / frequency.clamp(min=1)[target.clamp(min=0)], 0.0)


def shares(split: Split, share: dict[str, float], *, unlabelled: bool) -> Tensor:
    """(dialogues,) how often each dialogue is seen in an epoch, on average: its corpus's share.

    Without a label it is seen only if the unlabelled are. Refused if an epoch would see none, on average.
    """
    corpora = split.manifest["corpus"].to_numpy()[split.starts[:-1].cpu().numpy()]
    labels = sum((target >= 0).cpu().float() for target in split.targets.values())
    told = torch.zeros(split.dialogues).index_add(0, _owner(split), labels) > 0
    seen = torch.tensor([share[corpus] for corpus in corpora]) * (told | unlabelled)
    enough(seen.sum().item(), share, "dialogues")
    return seen


def enough(seen: float, share: Mapping[str, float], what: str) -> None:
    """Refuse shares of which an epoch sees less than one of what is learnt from, on average."""
    if seen < 1 - 1e-4:  # what a sum of rounded shares may be off by
        given = ", ".join(f"{corpus} {one:g}" for corpus, one in share.items())
        raise Problem(f"params.yaml: data.share: {given}: {seen:.2g} {what} an epoch; raise it to at least one")


def _owner(split: Split) -> Tensor:
    starts = split.starts.cpu()
    return torch.repeat_interleave(torch.arange(split.dialogues), starts.diff())

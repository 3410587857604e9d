"""Batch samplers: which dialogues make up the batches of an epoch, and which utterances count in the loss."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from merc.data.batches.dataset import Split, is_labelled
from merc.runtime.errors import UserError


class DrawnBatch(NamedTuple):
    """One batch of an epoch."""

    dialogues: Tensor  # (B,) dialogue numbers
    # (n,) weight of each row of the batch in the loss; None: each once
    count: Tensor | None  # pyright: ignore[reportIncompatibleMethodOverride] (tuple's method of this name is unused)


def shuffled(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[DrawnBatch]:
    """Random order, every dialogue as often as its share says (0.5: in an epoch with probability 1/2)."""
    for dialogues in _random_order(share, generator).split(size):
        yield DrawnBatch(dialogues, None)


def stratified(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[DrawnBatch]:
    """As `shuffled`, but every batch has nearly the class proportions of the whole epoch.

    Dialogues are assigned greedily, those with the rarest classes first, each to the batch with room that most
    lacks its classes (after iterative stratification, Sechidis et al. 2011).
    """
    order = _random_order(share, generator)
    classes = class_counts(split)[order]  # (chosen dialogues, C)
    rarity = (classes / classes.sum(0).clamp(min=1)).sum(1)
    num_batches = -(-len(order) // size)
    room, missing = torch.full((num_batches,), size), (classes.sum(0) / num_batches).repeat(num_batches, 1)
    batches: list[list[int]] = [[] for _ in range(num_batches)]
    for position in rarity.argsort(descending=True, stable=True).tolist():
        gain = (missing.clamp(min=0) * classes[position]).sum(1).masked_fill(room == 0, -1.0)
        best = int(gain.argmax())
        batches[best].append(int(order[position]))
        room[best] -= 1
        missing[best] -= classes[position]
    for index in torch.randperm(num_batches, generator=generator).tolist():
        yield DrawnBatch(torch.tensor(batches[index]), None)


def _random_order(share: Tensor, generator: torch.Generator) -> Tensor:
    """Dialogue numbers in random order, each repeated as its share says, its fractional part at random."""
    extra = torch.rand(len(share), generator=generator) < share % 1
    dialogues = torch.repeat_interleave(torch.arange(len(share)), share.long() + extra)
    if not len(dialogues):  # never an empty epoch
        dialogues = torch.multinomial(share, 1, generator=generator)
    return dialogues[torch.randperm(len(dialogues), generator=generator)]


def weighted(split: Split, share: Tensor, size: int, generator: torch.Generator) -> Iterator[DrawnBatch]:
    """Utterances drawn by inverse class frequency; the batch holds their dialogues, only drawn utterances count.

    Drawing in two steps gives each utterance a probability exactly proportional to its weight, with batches of
    ordinary size: first a dialogue by the sum of its utterances' weights, then in it, by weight, as many
    utterances as a dialogue has on average.
    """
    dialogue_of_row = _dialogue_of_row(split)
    weights = utterance_weights(split) * share[dialogue_of_row]
    starts: list[int] = split.starts.tolist()
    dialogue_weights = torch.zeros(split.dialogues).index_add(0, dialogue_of_row, weights)
    num_drawn = max(1, round(len(split) / split.dialogues))
    num_batches = -(-max(1, int(share.sum())) // size)
    for dialogues in torch.multinomial(dialogue_weights, num_batches * size, True, generator=generator).split(size):
        count: dict[int, Tensor] = {}  # by dialogue
        for dialogue in dialogues.tolist():
            rows = slice(starts[dialogue], starts[dialogue + 1])
            drawn = torch.multinomial(weights[rows], num_drawn, True, generator=generator)
            times = torch.bincount(drawn, minlength=rows.stop - rows.start).float()
            count[dialogue] = count.get(dialogue, 0.0) + times
        yield DrawnBatch(torch.tensor(sorted(count)), torch.cat([count[dialogue] for dialogue in sorted(count)]))


SAMPLERS: dict[str, Callable[[Split, Tensor, int, torch.Generator], Iterator[DrawnBatch]]] = {
    "shuffled": shuffled,
    "stratified": stratified,
    "weighted": weighted,
}


def balanced_classes(split: Split) -> tuple[Tensor, tuple[str, ...]]:
    """(N,) the class of each utterance by which batches are balanced, and the classes' names.

    The classes of the first classification; where no task has any, all labelled utterances are of one class.
    """
    if task := split.lead():
        return split.targets[task].cpu(), split.labels[task]
    labelled = torch.stack([is_labelled(target) for target in split.targets.values()]).any(0)
    return labelled.long().cpu() - 1, ("labelled",)


def class_counts(split: Split) -> Tensor:
    """(dialogues, C) number of utterances of each class in each dialogue."""
    target, names = balanced_classes(split)
    labelled = (target >= 0).nonzero().squeeze(1)
    counts = torch.zeros(split.dialogues, len(names))
    cells = (_dialogue_of_row(split)[labelled], target[labelled])
    return counts.index_put(cells, torch.ones(len(labelled)), accumulate=True)


def drawn_class_fractions(split: Split, draws: Sequence[DrawnBatch]) -> dict[str, float]:
    """Fraction of each class among the labelled utterances that counted in these batches."""
    target, names = balanced_classes(split)
    whole = [draw.dialogues for draw in draws if draw.count is None]
    times = torch.bincount(torch.cat([torch.zeros(0, dtype=torch.long), *whole]), minlength=split.dialogues)
    class_totals = times.float() @ class_counts(split)
    for draw in draws:
        if draw.count is not None:
            classes = target[split.rows(draw.dialogues)]
            class_totals.index_add_(0, classes.clamp(min=0), draw.count * (classes >= 0))
    fractions = (class_totals / class_totals.sum().clamp(min=1)).tolist()
    return {f"drawn_{name}": fraction for name, fraction in zip(names, fractions, strict=True)}


def utterance_weights(split: Split) -> Tensor:
    """(N,) 1 / number of utterances of the same class; 0 without a label."""
    target, names = balanced_classes(split)
    frequency = torch.bincount(target[target >= 0], minlength=len(names))
    return torch.where(target >= 0, 1.0 / frequency.clamp(min=1)[target.clamp(min=0)], 0.0)


def sampling_shares(split: Split, share: dict[str, float], *, unlabelled: bool) -> Tensor:
    """(dialogues,) mean number of times that each dialogue is drawn in an epoch: its corpus's share.

    A dialogue without labels counts only if `unlabelled`. Raises if the mean total is below one dialogue.
    """
    corpora = split.manifest["corpus"].to_numpy()[split.starts[:-1].cpu().numpy()]
    labels = cast("Tensor", sum(is_labelled(target).cpu().float() for target in split.targets.values()))
    labelled = torch.zeros(split.dialogues).index_add(0, _dialogue_of_row(split), labels) > 0
    mean_draws = torch.tensor([share[corpus] for corpus in corpora]) * (labelled | unlabelled)
    check_epoch_size(mean_draws.sum().item(), share, "dialogues")
    return mean_draws


def passes(dialogues: float, size: int, min_batches: int) -> int:
    """How often an epoch goes through so many dialogues, to have at least `min_batches` batches of this size.

    Few labels would otherwise mean few optimisation steps: a tenth of the sample's were learnt from in 30 steps,
    where nine passes gain macro F1 on dev (docs/pretraining.md).
    """
    return int(size * (min_batches - 1) // dialogues) + 1


def check_epoch_size(count: float, share: Mapping[str, float], unit: str) -> None:
    """Raise if an epoch draws less than one item on average; `unit` names them, say dialogues."""
    if count < 1 - 1e-4:  # tolerance for the sum of rounded shares
        values = ", ".join(f"{corpus} {value:g}" for corpus, value in share.items())
        raise UserError(f"params.yaml: data.share: {values}: {count:.2g} {unit} an epoch; raise it to at least one")


def _dialogue_of_row(split: Split) -> Tensor:
    """(N,) dialogue number of each row."""
    starts = split.starts.cpu()
    return torch.repeat_interleave(torch.arange(split.dialogues), starts.diff())

"""Attribution of the predicted emotion to an utterance's parts: integrated gradients and occlusion."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from merc.data.records.stream_name import StreamName
from merc.explanation.counterfactual import Change, Encoded, Probe, log_odds
from merc.explanation.methods.integrated_gradients import MAX_ROUNDS, StreamAttributions, integrate
from merc.explanation.parts import Parts

_Leaves = dict[str, tuple[Tensor, Tensor, Tensor]]  # by stream: queries (n,), leaf, difference (n, S, D)


@dataclass(frozen=True)
class Case:
    """What is explained: the log-odds of an emotion of each row, with the parts into which the row is divided."""

    probe: Probe
    emotion: Tensor  # (N,) long
    blanks: dict[str, Tensor]  # by stream: (steps, D), the encoder's output for an empty input
    parts: Parts
    owner: dict[str, Tensor]  # by stream: parts.owner as tensors

    def blank(self, stream: str, values: Tensor, rows: Tensor) -> Tensor:
        """The stream's blank stretched over the steps of the rows, in the shape of their values (n, S, D)."""
        blank, num_steps = self.blanks[stream], (self.owner[stream][rows] >= 0).sum(1).clamp(min=1)
        index = torch.arange(values.shape[1], device=values.device) * len(blank) // num_steps[:, None]
        return blank[index.clamp(max=len(blank) - 1)]

    def emotion_logits_without(self, rows: Tensor, removed: Tensor) -> Tensor:
        """(Q, C) emotion logits of the rows with the parts `removed` (Q, P) replaced by the encoder's blank."""
        return self.logits_without(rows, removed)[self.probe.task]

    def logits_without(self, rows: Tensor, removed: Tensor) -> dict[str, Tensor]:
        """The same for every task."""
        batches = []
        for chunk in self.probe.chunks(rows):
            with torch.no_grad():
                encoded = self._encode(rows[chunk], removed[chunk])
                batches.append(self.probe.outputs_from_encoded(rows[chunk], encoded))
        if not batches:  # no rows: utterances without parts
            labels = self.probe.network.labels
            return {task: torch.zeros(0, len(names), device=rows.device) for task, names in labels.items()}
        return {name: torch.cat([logits[name] for logits in batches]) for name in batches[0]}

    def _encode(self, rows: Tensor, removed: Tensor) -> dict[str, Encoded]:
        """Stem outputs of the rows without the parts; identical inputs of a modality are encoded once."""
        encoded = {}
        for modality, part_mask in self.part_masks.items():
            inputs = torch.cat([rows[:, None], removed & part_mask[rows]], 1)
            distinct, inverse = torch.unique(inputs, dim=0, return_inverse=True)
            change = self._blanked(modality, distinct[:, 0], distinct[:, 1:].bool())
            reencoded = self.probe.reencode(distinct[:, 0], change)
            encoded |= {m: (hidden[inverse], deviation[inverse]) for m, (hidden, deviation) in reencoded.items()}
        return encoded

    @cached_property
    def part_masks(self) -> dict[str, Tensor]:
        """By modality: (N, P) bool, the parts of an utterance that belong to the modality."""
        masks = {}
        for stream, owner in self.owner.items():
            mask = torch.zeros(len(owner), int(self.parts.counts.max()) + 1, dtype=torch.bool, device=owner.device)
            mask = mask.scatter(1, owner + 1, True)[:, 1:]  # padding is -1
            modality = StreamName.parse(stream).modality
            masks[modality] = masks[modality] | mask if modality in masks else mask
        return masks

    def _blanked(self, modality: str, rows: Tensor, removed: Tensor) -> Change:
        """The change that makes the parts `removed` (Q, P) of the rows blank, in one modality."""

        def change(stream: str, values: Tensor, queries: Tensor) -> Tensor:
            if stream not in self.owner or StreamName.parse(stream).modality != modality:
                return values
            owner = self.owner[stream][rows[queries]][:, : values.shape[1]]
            is_removed = removed[queries].gather(1, owner.clamp(min=0)) & (owner >= 0)
            return torch.where(is_removed[:, :, None], self.blank(stream, values, rows[queries]), values)

        return change


def occlusion(case: Case) -> np.ndarray:
    """(N, P) how much the log-odds fall when one part alone is blank; NaN beyond an utterance's parts."""
    rows = torch.from_numpy(np.repeat(np.arange(len(case.probe)), case.parts.counts)).to(case.emotion.device)
    part = torch.from_numpy(np.concatenate([np.arange(count) for count in case.parts.counts])).to(rows.device)
    width = int(case.parts.counts.max())
    removed = torch.arange(width, device=rows.device) == part[:, None]
    before = log_odds(case.probe.logits(case.probe.rows), case.emotion)
    fall = before[rows] - log_odds(case.emotion_logits_without(rows, removed), case.emotion[rows])
    scores = torch.full((len(case.probe), width), torch.nan, device=rows.device)
    return scores.index_put((rows, part), fall).cpu().double().numpy()


@dataclass(frozen=True)
class StepAttributions:
    """Integrated gradients of every step of N utterances; 0 for rows that were not requested."""

    steps: dict[str, np.ndarray]  # by stream: (N, S)
    explained: np.ndarray  # (N,) log-odds minus those of the utterance with every part blank
    gap: np.ndarray  # (N,) `explained` minus the sum of the attributions

    def of_parts(self, parts: Parts) -> np.ndarray:
        """(N, P) summed over each part's steps; NaN beyond an utterance's parts."""
        scores = np.zeros((len(parts.counts), int(parts.counts.max())))
        for stream, attributions in self.steps.items():
            row, step = np.nonzero(parts.owner[stream] >= 0)
            np.add.at(scores, (row, parts.owner[stream][row, step]), attributions[row, step])
        scores[np.arange(scores.shape[1]) >= parts.counts[:, None]] = np.nan
        return scores


def integrated_gradients(case: Case, rows: Tensor | None = None, rounds: int = MAX_ROUNDS) -> StepAttributions:
    """Integrated gradients of the rows (default: all) from the blank to the utterance, over all streams at once."""
    rows = case.probe.rows if rows is None else rows
    result = integrate(_Utterances(case, rows), len(rows), rows.device, rounds)

    def scatter(values: Tensor) -> np.ndarray:
        """Values of the rows -> values of all N rows."""
        all_rows = torch.zeros(len(case.probe), *values.shape[1:])
        return all_rows.index_copy(0, rows.cpu(), values.cpu().float()).double().numpy()

    steps = {stream: scatter(attributions) for stream, attributions in result.steps.items()}
    return StepAttributions(steps, scatter(result.explained), scatter(result.gap))


@dataclass(frozen=True)
class _Utterances:
    """The paths of some rows of a case, in the space of their features."""

    case: Case
    rows: Tensor

    @property
    def num_steps(self) -> dict[str, int]:
        values = self.case.probe.batch["values"]
        return {stream: values[stream].shape[1] for stream in self.case.owner}

    def chunks(self, paths: Tensor) -> Iterator[Tensor]:
        yield from self.case.probe.chunks(self.rows[paths])

    def values(self, paths: Tensor, alphas: Tensor) -> Tensor:
        with torch.no_grad():
            return self._log_odds(paths, alphas, {})

    def gradients(self, paths: Tensor, alphas: Tensor) -> StreamAttributions:
        leaves: _Leaves = {}
        with torch.backends.cudnn.flags(enabled=False):  # its GRU has no backward pass outside training
            output = self._log_odds(paths, alphas, leaves)
            if not leaves:
                return {}
            gradients = torch.autograd.grad(
                output.sum(), [leaf for _, leaf, _ in leaves.values()], allow_unused=True
            )
        return {
            stream: (
                queries,
                difference.new_zeros(difference.shape[:2])
                if gradient is None
                else (gradient.nan_to_num() * difference).sum(2),
            )
            for (stream, (queries, _, difference)), gradient in zip(leaves.items(), gradients, strict=True)
        }

    def _log_odds(self, paths: Tensor, alphas: Tensor, leaves: _Leaves) -> Tensor:
        rows = self.rows[paths]
        logits = self.case.probe.changed_logits(rows, change=_interpolated(self.case, rows, alphas, leaves))
        return log_odds(logits, self.case.emotion[rows])


def _interpolated(case: Case, rows: Tensor, alphas: Tensor, leaves: _Leaves) -> Change:
    """The change of features to the points `alphas` of their paths; fills `leaves` for the gradients."""

    def change(stream: str, values: Tensor, queries: Tensor) -> Tensor:
        if stream not in case.owner:
            return values
        # a feature that the encoder left undefined (NaN) has no path
        difference = (values - case.blank(stream, values, rows[queries])).nan_to_num()
        leaf = (values - (1 - alphas[queries])[:, None, None] * difference).requires_grad_()
        leaves[stream] = (queries, leaf, difference)
        return leaf

    return change

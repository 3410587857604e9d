"""Dataset of a split: features held as tensors, batches of whole dialogues built without a loop over utterances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from merc.data.batches.offsets import RowOffsets
from merc.data.batches.streams import FeatureStream, read_streams
from merc.data.records import manifest as manifests
from merc.data.records.labels import UNLABELLED, LabelSpace, Task
from merc.data.records.stream_name import StreamName
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# Utterances of a dialogue that is taken whole. A longer one, an hour of film, is taken in equal parts: a batch of
# whole ones would fill the memory (docs/scale.md). The longest dialogue of IEMOCAP has 110, of MELD 33.
MAX_TURNS = 128


@dataclass(frozen=True)
class Split:
    """One split of the named corpora, N utterances in dialogues, with all inputs and targets of a network.

    M is the number of modalities.
    """

    manifest: pd.DataFrame
    modalities: tuple[str, ...]
    features: dict[str, FeatureStream]  # by stream name: <modality>/<encoder>
    tasks: dict[str, Task]
    targets: dict[str, Tensor]  # by task: (N,) long, (N, C) or (N,) float, as Task.targets
    votes: dict[str, Tensor]  # by task with annotators' votes: (N, C) shares, NaN without votes
    present: Tensor  # (N, M) bool: which modalities an utterance has
    speaker: Tensor  # (N,) long: speaker index within the dialogue, by order of first appearance
    # (dialogues + 1,) long: dialogue d owns rows starts[d]:starts[d + 1]; parts of a long one count as dialogues
    starts: Tensor
    speaker_offsets: dict[str, RowOffsets] = field(default_factory=dict)  # by stream, of those that have any

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def dialogues(self) -> int:
        """Number of dialogues."""
        return len(self.starts) - 1

    @property
    def streams(self) -> dict[str, int]:
        """Feature dimension of each stream, from which a network builds its stems."""
        return {name: stream.dim for name, stream in self.features.items()}

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The names of each task's outputs, in order."""
        return {name: task.outputs for name, task in self.tasks.items()}

    def heads(self) -> dict[str, tuple[str, ...]]:
        """The outputs of each task that has at least one labelled utterance."""
        heads = {task: names for task, names in self.labels.items() if is_labelled(self.targets[task]).any()}
        if not heads:
            raise UserError(f"no utterance has a label of {', '.join(self.tasks)}; see data.labels (docs/data.md)")
        return heads

    def kinds(self) -> dict[str, dict]:
        """What the outputs of each task mean, as models.heads.HeadKind takes it."""
        kinds = {name: {"kind": task.kind} for name, task in self.tasks.items()}
        ranges = {
            n: {"range": (task.low, task.high)} for n, task in self.tasks.items() if task.kind == "regression"
        }
        return {name: {**kind, **ranges.get(name, {})} for name, kind in kinds.items()}

    def unseen(self) -> dict[str, tuple[str, ...]]:
        """The classes that no utterance shows, of each task that has a head and such classes."""
        found = {}
        for name in self.heads():
            shown, names = class_counts(self, name), self.tasks[name].classes
            if hidden := tuple(label for label, count in zip(names, shown, strict=True) if not count):
                found[name] = hidden
        return found

    def lead(self) -> str:
        """The first classification with labels, by whose classes batches are balanced; "" without one."""
        return next((task for task in self.heads() if self.tasks[task].kind == "classification"), "")

    def statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation (D,) of each stream over all steps, less the speakers' offsets."""
        return {
            name: stream.statistics(self.speaker_offsets[name].of if name in self.speaker_offsets else None)
            for name, stream in self.features.items()
        }

    def with_streams(self, streams: Sequence[str]) -> Split:
        """This split restricted to the given streams, a network's inputs; features of other encoders are absent."""
        features = {name: stream for name, stream in self.features.items() if name in streams}
        present = _present(features, self.modalities, len(self)).to(self.present.device)
        return replace(self, features=features, present=present)

    def subset(self, most: int) -> Split:
        """This split, or, of one with more than `most` utterances, every n-th dialogue of it."""
        step = -(-len(self) // most)
        if step <= 1:
            return self
        dialogues = torch.arange(0, self.dialogues, step, device=self.starts.device)
        rows = self._rows(dialogues)[1]
        lengths = self.starts[dialogues + 1] - self.starts[dialogues]
        return replace(
            self,
            manifest=self.manifest.iloc[rows.cpu().numpy()].reset_index(drop=True),
            features={name: stream.take(rows) for name, stream in self.features.items()},
            targets={task: target[rows] for task, target in self.targets.items()},
            votes={task: shares[rows] for task, shares in self.votes.items()},
            present=self.present[rows],
            speaker=self.speaker[rows],
            starts=torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            speaker_offsets={name: offsets.take(rows) for name, offsets in self.speaker_offsets.items()},
        )

    def without(self, hidden: np.ndarray) -> Split:
        """This split without the modalities of utterances that `hidden` (N, M) names."""
        shown = torch.from_numpy(~hidden).to(self.present.device)
        columns = {name: self.modalities.index(StreamName.parse(name).modality) for name in self.features}
        features = {
            name: replace(stream, lengths=stream.lengths * shown[:, columns[name]])
            for name, stream in self.features.items()
        }
        return replace(self, features=features, present=_present(features, self.modalities, len(self)))

    def to(self, device: torch.device | str) -> Split:
        """Copy of this split with every tensor on `device`."""
        return replace(
            self,
            features={name: stream.to(device) for name, stream in self.features.items()},
            targets={task: target.to(device) for task, target in self.targets.items()},
            votes={task: shares.to(device) for task, shares in self.votes.items()},
            **{name: getattr(self, name).to(device) for name in ("present", "speaker", "starts")},
            speaker_offsets={name: offsets.to(device) for name, offsets in self.speaker_offsets.items()},
        )

    def batch(self, dialogues: Sequence[int] | Tensor, device: torch.device | str | None = None) -> dict:
        """Collate whole dialogues, in the given order, on the split's device; then move the batch to `device`.

        With n of the batch's N utterances present in a stream, `values` is (n, S, D), zero-padded to the longest
        utterance. `rows` (n,) are positions within the batch, `steps` (n,) the lengths, `place` (N, 2) dialogue and
        turn, `index` (N,) the rows of the split, `speaker_offsets` (N, D) by stream, where the split has any.
        """
        selected = torch.as_tensor(dialogues, dtype=torch.long, device=self.starts.device)
        place, index = self._rows(selected)
        inputs = {name: stream.gather(index) for name, stream in self.features.items()}
        # streams without a row in this batch are left out
        inputs = {name: (values, rows, steps) for name, (values, rows, steps) in inputs.items() if len(rows)}
        batch = {
            "values": {name: values for name, (values, _, _) in inputs.items()},
            "rows": {name: rows for name, (_, rows, _) in inputs.items()},
            "steps": {name: steps for name, (_, _, steps) in inputs.items()},
            "present": self.present[index],
            "place": place,
            "speaker": self.speaker[index],
            **{task: target[index] for task, target in self.targets.items()},
            **{votes_key(task): shares[index] for task, shares in self.votes.items()},
            "index": index,
        }
        if self.speaker_offsets:
            batch["speaker_offsets"] = {s: of.of(index) for s, of in self.speaker_offsets.items() if s in inputs}
        return batch if device is None else move_batch(batch, device)

    def batches(self, size: int) -> Iterator[dict]:
        """Yield every dialogue once, in order, in batches of `size` dialogues."""
        for first in range(0, self.dialogues, size):
            yield self.batch(range(first, min(first + size, self.dialogues)))

    def rows(self, dialogues: Tensor) -> Tensor:
        """(n,) rows of these dialogues, one dialogue after the other, on the CPU."""
        return self._rows(dialogues.to(self.starts.device))[1].cpu()

    def _rows(self, dialogues: Tensor) -> tuple[Tensor, Tensor]:
        """Dialogue and turn (N, 2) and split rows (N,) of the utterances of these dialogues."""
        lengths = self.starts[dialogues + 1] - self.starts[dialogues]
        dialogue = torch.repeat_interleave(torch.arange(len(dialogues), device=lengths.device), lengths)
        first = lengths.cumsum(0) - lengths
        turn = torch.arange(len(dialogue), device=lengths.device) - first[dialogue]
        return torch.stack([dialogue, turn], dim=1), self.starts[dialogues][dialogue] + turn


def read_split(split: str, corpora: list[str], modalities: Sequence[str], labels: LabelSpace) -> Split:
    """Read the manifests and feature packs of one split."""
    manifest = manifests.read_manifests(split, corpora)
    return build_split(manifest, read_streams(split, corpora, modalities, manifest), modalities, labels)


def build_split(
    manifest: pd.DataFrame, features: dict[str, FeatureStream], modalities: Sequence[str], labels: LabelSpace
) -> Split:
    """Build a split from a manifest and the streams of its rows."""
    return Split(
        manifest=manifest,
        modalities=tuple(modalities),
        features=features,
        tasks=labels.tasks,
        targets={task: torch.from_numpy(labels.targets(manifest, task)) for task in labels.tasks},
        votes={
            name: torch.from_numpy(shares)
            for name, task in labels.tasks.items()
            if (shares := task.distributions(manifest)) is not None
        },
        present=_present(features, modalities, len(manifest)),
        speaker=torch.from_numpy(_speaker_indices(manifest)),
        starts=torch.from_numpy(_starts(manifest)),
    )


def votes_key(task: str) -> str:
    """The name in a batch of the annotators' shares of votes."""
    return f"{task}_votes"


def is_labelled(target: Tensor) -> Tensor:
    """(N,) bool: the rows with a label, of the targets of any task."""
    return ~target.isnan().reshape(len(target), -1).any(1) if target.is_floating_point() else target >= 0


def without_labels(target: Tensor, kept: Tensor) -> Tensor:
    """The targets of any task, of the rows that are kept (N,); the others have no label."""
    nothing = torch.nan if target.is_floating_point() else UNLABELLED
    return torch.where(kept.view(-1, *[1] * (target.dim() - 1)), target, nothing)


def class_counts(split: Split, task: str) -> Tensor:
    """(C,) number of utterances of each class of a task, on the CPU; of a regression nothing."""
    target, classes = split.targets[task].cpu(), len(split.tasks[task].classes)
    if split.tasks[task].kind == "classification":
        return torch.bincount(target[target >= 0], minlength=classes).float()
    return target[is_labelled(target)].sum(0) if classes else torch.zeros(0)


def move_batch(batch: dict, device: torch.device | str) -> dict:
    """Copy of the batch with its tensors on `device`."""
    return {
        name: move_batch(entry, device) if isinstance(entry, dict) else entry.to(device)
        for name, entry in batch.items()
    }


def _present(features: dict[str, FeatureStream], modalities: Sequence[str], rows: int) -> Tensor:
    """(N, M) bool: a modality is present where any encoder has features of it."""
    present = torch.zeros(rows, len(modalities), dtype=torch.bool)
    for name, stream in features.items():
        column = modalities.index(StreamName.parse(name).modality)
        present[:, column] |= (stream.lengths > 0).to(present.device)
    return present


def dialogue_keys(manifest: pd.DataFrame) -> pd.Series:
    """(N,) dialogue ids that are unique across corpora."""
    return cast("pd.Series", manifest["corpus"] + "/" + manifest["dialogue"])


def _starts(manifest: pd.DataFrame) -> np.ndarray:
    """(dialogues + 1,) first row of each dialogue, or of each part of a long one, and the number of rows."""
    keys = dialogue_keys(manifest)
    begins = np.flatnonzero(keys != keys.shift())
    lengths = np.diff(begins, append=len(keys))
    parts = -(-lengths // MAX_TURNS)
    part = np.arange(parts.sum()) - np.repeat(parts.cumsum() - parts, parts)
    begins, lengths, parts = (np.repeat(each, parts) for each in (begins, lengths, parts))
    return np.append(begins + lengths * part // parts, len(keys)).astype(np.int64)


def _speaker_indices(manifest: pd.DataFrame) -> np.ndarray:
    """(N,) speaker index within the dialogue: 0 for the first speaker, 1 for the next new one, and so on."""
    import pandas as pd

    speakers = manifest["speaker"].fillna("").groupby(dialogue_keys(manifest), sort=False)
    indices = speakers.transform(lambda names: pd.factorize(names)[0])
    return indices.to_numpy(dtype=np.int64, copy=True)  # a writable copy, which torch requires

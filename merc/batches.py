"""Whole-dialogue batches: features resident as tensors, gathered without Python per utterance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merc import manifest as manifests
from merc.labels import TASKS, LabelSpace
from merc.problem import Problem
from merc.streams import Stream, read_streams


@dataclass(frozen=True)
class Split:
    """One split of the named corpora, N utterances in dialogues, with everything that a network sees of it."""

    manifest: pd.DataFrame
    modalities: tuple[str, ...]
    features: dict[str, Stream]  # by stream name: <modality>/<encoder>
    labels: dict[str, tuple[str, ...]]  # by task; the order is the heads'
    targets: dict[str, Tensor]  # by task: (N,) long
    present: Tensor  # (N, M) bool
    speaker: Tensor  # (N,) long: role in the dialogue, by order of first speech
    starts: Tensor  # (dialogues + 1,) long: dialogue d owns rows starts[d]:starts[d + 1]

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def dialogues(self) -> int:
        return len(self.starts) - 1

    @property
    def streams(self) -> dict[str, int]:
        """Width of each stream: what a network builds its stems from."""
        return {name: stream.dim for name, stream in self.features.items()}

    def heads(self) -> dict[str, tuple[str, ...]]:
        """The label order of each task that this split has a label for."""
        heads = {task: names for task, names in self.labels.items() if (self.targets[task] >= 0).any()}
        if "emotion" not in heads:
            raise Problem("no utterance has an emotion that data.labels maps; see merc/labels.py")
        return heads

    def statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation (D,) of each stream over its present steps."""
        return {name: stream.statistics() for name, stream in self.features.items()}

    def known(self, streams: Sequence[str]) -> "Split":
        """This split as a network with these streams can see it: other encoders' features are absent."""
        features = {name: stream for name, stream in self.features.items() if name in streams}
        present = _present(features, self.modalities, len(self)).to(self.present.device)
        return replace(self, features=features, present=present)

    def to(self, device: torch.device | str) -> "Split":
        """The same split with every tensor on `device`."""
        return replace(
            self,
            features={name: stream.to(device) for name, stream in self.features.items()},
            targets={task: target.to(device) for task, target in self.targets.items()},
            **{name: getattr(self, name).to(device) for name in ("present", "speaker", "starts")},
        )

    def batch(
        self, dialogues: Sequence[int] | Tensor, device: torch.device | str | None = None, *, packed: bool = False
    ) -> dict:
        """A batch of whole dialogues, in the order given, built where the split lies.

        Packed, the steps of its values stand one after another (steps, D): what a training step computes on need
        not be padded to the longest utterance.
        """
        chosen = torch.as_tensor(dialogues, dtype=torch.long, device=self.starts.device)
        place, index = self._rows(chosen)
        take = Stream.pack if packed else Stream.gather
        gathered = {name: take(stream, index) for name, stream in self.features.items()}
        gathered = {name: one for name, one in gathered.items() if len(one[1])}  # a stem of no rows is not asked
        batch = {
            "values": {name: one[0] for name, one in gathered.items()},
            "rows": {name: one[1] for name, one in gathered.items()},
            "steps": {name: one[2] for name, one in gathered.items()},
            "present": self.present[index],
            "place": place,
            "speaker": self.speaker[index],
            **{task: target[index] for task, target in self.targets.items()},
            "index": index,
        }
        return batch if device is None else move(batch, device)

    def batches(self, size: int) -> Iterator[dict]:
        """Every dialogue once, in order, `size` at a time."""
        for first in range(0, self.dialogues, size):
            yield self.batch(range(first, min(first + size, self.dialogues)))

    def _rows(self, dialogues: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 2) places and (N,) rows of the utterances of these dialogues."""
        lengths = self.starts[dialogues + 1] - self.starts[dialogues]
        number = torch.repeat_interleave(torch.arange(len(dialogues), device=lengths.device), lengths)
        before = lengths.cumsum(0) - lengths
        turn = torch.arange(len(number), device=lengths.device) - before[number]
        return torch.stack([number, turn], dim=1), self.starts[dialogues][number] + turn


def read_split(split: str, corpora: list[str], modalities: Sequence[str], labels: LabelSpace) -> Split:
    """Read the manifests and packs of one split."""
    manifest = manifests.read(split, corpora)
    return assemble(manifest, read_streams(split, corpora, modalities, manifest), modalities, labels)


def assemble(
    manifest: pd.DataFrame, features: dict[str, Stream], modalities: Sequence[str], labels: LabelSpace
) -> Split:
    """The split of a manifest's rows and the features that there are of them."""
    return Split(
        manifest=manifest,
        modalities=tuple(modalities),
        features=features,
        labels={task: getattr(labels, task) for task in TASKS},
        targets={task: torch.from_numpy(labels.indices(manifest, task)) for task in TASKS},
        present=_present(features, modalities, len(manifest)),
        speaker=torch.from_numpy(_roles(manifest)),
        starts=torch.from_numpy(_starts(manifest)),
    )


def move(batch: dict, device: torch.device | str) -> dict:
    """The batch with its tensors on `device`."""
    return {
        name: move(entry, device) if isinstance(entry, dict) else entry.to(device) for name, entry in batch.items()
    }


def _present(features: dict[str, Stream], modalities: Sequence[str], rows: int) -> Tensor:
    """(N, M): a modality is present where any encoder has features of it."""
    present = torch.zeros(rows, len(modalities), dtype=torch.bool)
    for name, stream in features.items():
        column = modalities.index(name.split("/")[0])
        present[:, column] |= (stream.lengths > 0).to(present.device)
    return present


def _keys(manifest: pd.DataFrame) -> pd.Series:
    return manifest["corpus"] + "/" + manifest["dialogue"]


def _starts(manifest: pd.DataFrame) -> np.ndarray:
    keys = _keys(manifest)
    return np.append(np.flatnonzero(keys != keys.shift()), len(keys)).astype(np.int64)


def _roles(manifest: pd.DataFrame) -> np.ndarray:
    """(N,): 0 for who speaks first in the dialogue, 1 for the next new voice, and so on."""
    speakers = manifest["speaker"].fillna("").groupby(_keys(manifest), sort=False)
    roles = speakers.transform(lambda names: pd.factorize(names)[0])
    return roles.to_numpy(dtype=np.int64, copy=True)  # torch wants to own what it may write to

"""What is usual of a speaker, found without a label, which a network subtracts from what the speaker does.

The mean over an utterance's steps is taken as the usual, plus the speaker's offset, plus the utterance's own part:
in each dimension a one-way analysis of variance with random effects. From n utterances of a speaker the best
estimate of the offset is the mean of their differences from the usual, times n / (n + ratio), where `ratio` is the
variance within speakers over the variance between them (BLUP; Robinson 1991, That BLUP Is a Good Thing). So little
is subtracted from somebody who has said little, and nothing where speakers do not differ.

The utterances of a speaker are those of the same name in a split, or in a call of the predictor; one without a name
is a speaker of its own. In half of the training batches every utterance is, whatever its name: a network that was
always told the names is worse at a speaker of whom it gets one utterance (docs/pretraining.md).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from merc.data.batches.dataset import Split
from merc.data.batches.offsets import NOBODY, RowOffsets, row_means
from merc.data.batches.streams import FeatureStream

FILE = "speakers.safetensors"
BLOCK = 1000  # utterances whose steps are in memory at once
UNKNOWN = ""  # the name of a speaker who has none

# means over the steps of n utterances (n, D), NaN where unknown, and the numbers of their speakers (n,)
Block = tuple[np.ndarray, np.ndarray]


class StreamSpeakers(NamedTuple):
    """What train says about the speakers of one stream of D features a step."""

    usual: np.ndarray  # (D,) mean of the utterances' means
    ratio: np.ndarray  # (D,) variance within speakers / between them; infinite where speakers do not differ

    @classmethod
    def fit(cls, blocks: Iterable[Block], num_speakers: int) -> Self | None:
        """None unless there are two speakers in some dimension, one of them with two utterances."""
        count, total, square = _sums(blocks, num_speakers, 0.0)
        utterances, speakers = count.sum(0), (count > 0).sum(0)
        if not ((speakers > 1) & (utterances > speakers)).any():
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            usual = total.sum(0) / utterances
            of_speakers = np.nan_to_num(total**2 / count).sum(0)
            within = np.maximum(square - of_speakers, 0.0) / (utterances - speakers)
            between = (of_speakers - utterances * usual**2) / (speakers - 1)
            size = (utterances - (count**2).sum(0) / utterances) / (speakers - 1)  # of a speaker, in effect
            variance = (between - within) / size
            ratio = np.where(variance > 0, within / variance, np.inf)
        return cls(
            np.nan_to_num(usual).astype(np.float32),
            np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).astype(np.float32),
        )

    def offsets(self, blocks: Iterable[Block], num_speakers: int) -> np.ndarray:
        """(num_speakers, D) what is usual of each speaker, less what is usual."""
        count, total, _ = _sums(blocks, num_speakers, self.usual)
        if not count.size:
            return np.zeros((num_speakers, len(self.usual)), np.float32)
        with np.errstate(invalid="ignore"):  # 0 / 0: nothing is known of the speaker, and speakers always differ
            return np.nan_to_num(total / (count + self.ratio)).astype(np.float32)

    @property
    def share(self) -> float:
        """The speakers' share of the variance of an utterance's mean, averaged over the dimensions."""
        return float((1 / (1 + self.ratio.astype(float))).mean())


Speakers = Mapping[str, StreamSpeakers]  # by stream


def fit(train: Split) -> dict[str, StreamSpeakers]:
    """The speakers of every stream, where there are some to tell apart; utterances without a name are left out."""
    who, number = _numbered(_names(train))
    fitted = {name: StreamSpeakers.fit(_blocks(stream, who), number) for name, stream in train.features.items()}
    return {name: stream for name, stream in fitted.items() if stream is not None}


def with_offsets(split: Split, fitted: Speakers, *, named: bool = True) -> Split:
    """The split with the offsets of its speakers, estimated from all utterances of the same name in it.

    Without `named` every utterance is a speaker of its own.
    """
    who, number = _numbered(_names(split) if named else [UNKNOWN] * len(split))
    offsets = {
        name: _row_offsets(stream, fitted[name], who, number)
        for name, stream in split.features.items()
        if name in fitted
    }
    return replace(split, speaker_offsets=offsets)


def ways_to_show(split: Split, fitted: Speakers) -> list[Split]:
    """The split with offsets by name, and with those of every utterance as a speaker of its own."""
    return [with_offsets(split, fitted, named=named) for named in (True, False)] if fitted else [split]


def of_utterances(
    fitted: Speakers, features: Mapping[str, list[np.ndarray | None]], names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """(N, D) by stream: what is usual of the speakers of N utterances, of their features (steps, D) or None."""
    who, number = _numbered(names)
    offsets = {}
    for name, values in features.items():
        if name in fitted:
            stream = _stream(values, len(fitted[name].usual))
            offsets[name] = _row_offsets(stream, fitted[name], who, number).of(torch.arange(len(names)))
    return offsets


def save(path: Path, fitted: Speakers) -> None:
    """Write all streams; equal ones give equal bytes."""
    arrays = {f"{stream}/{name}": array for stream, one in fitted.items() for name, array in one._asdict().items()}
    save_file(arrays, path, metadata={"merc": json.dumps(sorted(fitted))})


def load(path: Path) -> dict[str, StreamSpeakers]:
    """Read what `save` wrote; {} if there is no such file: nothing is subtracted."""
    arrays = load_file(path) if path.is_file() else {}
    streams = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    return {
        stream: StreamSpeakers(*(arrays[f"{stream}/{name}"] for name in StreamSpeakers._fields))
        for stream in streams
    }


def _names(split: Split) -> list[str]:
    """(N,) unique across corpora."""
    table = split.manifest
    pairs = zip(table["corpus"], table["speaker"].fillna(UNKNOWN), strict=True)
    return [f"{corpus}/{name}" if name else UNKNOWN for corpus, name in pairs]


def _numbered(names: Sequence[str]) -> tuple[np.ndarray, int]:
    """(N,) the number of each name, NOBODY of one that is unknown; and how many names there are."""
    known: dict[str, int] = {}
    numbers = [known.setdefault(name, len(known)) if name else NOBODY for name in names]
    return np.array(numbers, np.int64), len(known)


def _row_offsets(stream: FeatureStream, fitted: StreamSpeakers, who: np.ndarray, number: int) -> RowOffsets:
    device = stream.lengths.device
    table = torch.from_numpy(fitted.offsets(_blocks(stream, who), number)).to(device)
    return RowOffsets(stream, torch.from_numpy(who).to(device), table, fitted.usual, fitted.ratio)


def _stream(features: list[np.ndarray | None], width: int) -> FeatureStream:
    """The stream of N utterances."""
    lengths = torch.tensor([0 if steps is None else len(steps) for steps in features])
    steps = [steps for steps in features if steps is not None]
    values = np.concatenate(steps) if steps else np.zeros((0, width), np.float32)
    return FeatureStream.of(torch.from_numpy(values), lengths.cumsum(0) - lengths, lengths)


def _blocks(stream: FeatureStream, who: np.ndarray) -> Iterator[Block]:
    """The means of all utterances of somebody known that have features, some at once."""
    rows = np.flatnonzero((stream.lengths > 0).cpu().numpy() & (who != NOBODY))
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        yield row_means(stream, torch.from_numpy(block).to(stream.lengths.device)), who[block]


def _sums(blocks: Iterable[Block], num_speakers: int, usual: np.ndarray | float) -> tuple[np.ndarray, ...]:
    """Of the differences from the usual: each speaker's number (K, D) and sum (K, D), and all squares' sum (D,).

    D is 0 if there is no block.
    """
    count = total = square = np.zeros((num_speakers, 0))
    for found, speaker in blocks:
        if not count.size:
            count, total = (np.zeros((num_speakers, found.shape[1])) for _ in range(2))
            square = np.zeros(found.shape[1])
        known = np.isfinite(found)
        difference = np.where(known, found - usual, 0.0)
        np.add.at(count, speaker, known)
        np.add.at(total, speaker, difference)
        square += (difference**2).sum(0)
    return count, total, square

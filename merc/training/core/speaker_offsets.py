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
    names = _names(train)
    speaker, number = _numbered(names)
    named = np.array([name != UNKNOWN for name in names])
    fitted = {
        name: StreamSpeakers.fit(_blocks(stream, speaker, named), number) for name, stream in train.features.items()
    }
    return {name: stream for name, stream in fitted.items() if stream is not None}


def with_offsets(split: Split, fitted: Speakers, *, named: bool = True) -> Split:
    """The split with the offsets of its speakers, estimated from all utterances of the same name in it.

    Without `named` every utterance is a speaker of its own, so that a table (K, D) has a row for each.
    """
    speaker, number = _numbered(_names(split) if named else [UNKNOWN] * len(split))
    device = split.starts.device
    tables = {
        name: torch.from_numpy(fitted[name].offsets(_blocks(stream, speaker), number)).to(device)
        for name, stream in split.features.items()
        if name in fitted
    }
    return replace(split, speaker_offsets=tables, who=torch.from_numpy(speaker).to(device)) if tables else split


def ways_to_show(split: Split, fitted: Speakers) -> list[Split]:
    """The split with offsets by name, and with those of every utterance as a speaker of its own."""
    return [with_offsets(split, fitted, named=named) for named in (True, False)] if fitted else [split]


def of_utterances(
    fitted: Speakers, features: Mapping[str, list[np.ndarray | None]], names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """(N, D) by stream: what is usual of the speakers of N utterances, of their features (steps, D) or None."""
    speaker, number = _numbered(names)
    offsets = {}
    for stream, values in features.items():
        if stream in fitted:
            present = [index for index, one in enumerate(values) if one is not None and len(one)]
            steps = [one for one in values if one is not None and len(one)]
            lengths = np.array([len(one) for one in steps])
            blocks = [(means(np.concatenate(steps), lengths), speaker[present])] if steps else []
            table = fitted[stream].offsets(blocks, number)
            offsets[stream] = torch.from_numpy(table[speaker])
    return offsets


def means(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(n, D) means of n utterances with `lengths` > 0 of the steps `values` (R, D), where these are finite."""
    first, known = np.cumsum(lengths) - lengths, np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0).astype(np.float64), first)
    with np.errstate(invalid="ignore"):  # 0 / 0 = NaN: nothing is known
        return total / np.add.reduceat(known.astype(np.int64), first)


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
    """(N,) the number of each name, one of its own for each that is unknown; and how many numbers there are."""
    known: dict[str | int, int] = {}
    numbers = [known.setdefault(name or index, len(known)) for index, name in enumerate(names)]
    return np.array(numbers, np.int64), len(known)


def _blocks(stream: FeatureStream, speaker: np.ndarray, chosen: np.ndarray | None = None) -> Iterator[Block]:
    """The means of all (chosen) utterances with features, some at once."""
    has = (stream.lengths > 0).cpu().numpy()
    rows = np.flatnonzero(has if chosen is None else has & chosen)
    for first in range(0, len(rows), BLOCK):
        block = torch.from_numpy(rows[first : first + BLOCK]).to(stream.lengths.device)
        values, lengths = stream.steps_of(block).cpu().numpy(), stream.lengths[block].cpu().numpy()
        yield means(values, lengths), speaker[rows[first : first + BLOCK]]


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

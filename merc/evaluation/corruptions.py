"""Corruptions of the test split: noise, or blanked, shuffled or dropped steps of one modality.

The names are `noise:audio/10dB`, `blank:vision`, `shuffle:vision`, `drop:text/0.3`. Random numbers are seeded by
the utterances' ids, as those of the masks are. Only noise needs the encoder again; the others change its features.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merc.data.batches.dataset import Split
from merc.data.batches.streams import FeatureStream
from merc.data.records import encoder_inputs, packs
from merc.data.records import manifest as manifests
from merc.data.records.packs import Pack
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory, packing
from merc.encoders.base.registry import Reader
from merc.evaluation.missing_modalities import HASHED_COLUMNS

OUT = Path("out")  # on a disk; /tmp may be memory
Features = Iterator[np.ndarray | None]  # (steps, dim) of each utterance, None where it is absent
Part = tuple[np.ndarray, Tensor, np.ndarray]  # row numbers (n,), steps (R, D), and how many each row has (n,)


@dataclass(frozen=True)
class Corruption:
    """A corruption, parsed from its name."""

    name: str
    kind: str
    modality: str
    strength: float  # of noise the ratio in dB, of drop the chance of a step; 0 where there is none
    seed: int

    def generator(self, row: Sequence[str]) -> np.random.Generator:
        """Random generator of one utterance, the same for every strength."""
        name = f"{self.seed}/" + "/".join([*row, self.modality, self.kind])
        return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()))


def check_name(name: str) -> str:
    """The name itself; raise ValueError if there is no such corruption."""
    parse_corruption(name, 0)
    return name


def parse_corruption(name: str, seed: int) -> Corruption:
    """Parse a corruption's name; raise ValueError, with what to write, if there is no such corruption."""
    kind, _, rest = name.partition(":")
    modality, slash, argument = rest.partition("/")
    if kind not in KINDS or modality not in manifests.MODALITIES or (kind == "noise" and modality != "audio"):
        raise ValueError(f"write one like {', '.join(EXAMPLES.values())}")
    if kind not in STRENGTHS and slash:
        raise ValueError(f"write {kind}:{modality}, without a strength")
    return Corruption(name, kind, modality, _strength(kind, argument), seed)


def _strength(kind: str, argument: str) -> float:
    if kind not in STRENGTHS:
        return 0.0
    low, high, unit = STRENGTHS[kind]
    try:
        number = float(argument.removesuffix(unit)) if argument.endswith(unit) else math.nan
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise ValueError(f"write one like {EXAMPLES[kind]}, from {low:g}{unit} to {high:g}{unit}")
    return number


def corrupt(split: Split, name: str, seed: int) -> Split | None:
    """The test split with one modality corrupted; None if that is possible for no corpus."""
    damage = parse_corruption(name, seed)
    names = [stream for stream in split.features if stream.startswith(f"{damage.modality}/")]
    if not names:
        return None
    parts: dict[str, list[Part]] = {name: [] for name in names}
    is_corrupted = False
    by_corpus = cast("Iterable[tuple[str, pd.DataFrame]]", split.manifest.groupby("corpus", sort=False))
    for corpus, rows in by_corpus:
        table = rows.reset_index(drop=True)
        pack = packs.read_pack(packs.pack_path("test", corpus, damage.modality), table)
        stream = str(StreamName(damage.modality, pack.encoder))
        features = KINDS[damage.kind](damage, corpus, table, pack)
        if features is None:
            print(f"evaluate: {name}: {corpus}'s {stream} cannot be encoded anew: left as it is")
        is_corrupted |= features is not None
        if stream in parts:
            values, lengths = _in_file(_steps(pack) if features is None else features, pack)
            parts[stream].append((rows.index.to_numpy(copy=True), values, lengths))
    streams = {name: _stream(parts[name], len(split)) for name in names}
    return replace(split, features=split.features | streams) if is_corrupted else None


def _in_file(features: Features, pack: Pack) -> tuple[Tensor, np.ndarray]:
    """All steps (R, D), mapped from a file without a name, and each row's number of them."""
    lengths = np.zeros(len(pack.present), np.int64)
    with TemporaryFile(dir=OUT) as file:
        for row, steps in enumerate(features):
            if steps is not None:
                file.write(np.ascontiguousarray(steps, pack.values.dtype).data)
                lengths[row] = len(steps)
        file.flush()
        shape = int(lengths.sum()), pack.dim
        values = (
            np.memmap(file, pack.values.dtype, "r+", shape=shape) if all(shape) else np.zeros(shape, np.float32)
        )
    return torch.from_numpy(values), lengths


def _stream(parts: Sequence[Part], num_rows: int) -> FeatureStream:
    """The stream of one encoder from the corpora that it reads; other rows are absent."""
    starts, lengths, first = torch.zeros(num_rows, dtype=torch.long), torch.zeros(num_rows, dtype=torch.long), 0
    for rows, values, counts in parts:
        starts[rows] = torch.from_numpy(np.cumsum(counts) - counts + first)
        lengths[rows] = torch.from_numpy(counts)
        first += len(values)
    return FeatureStream.of_parts(tuple(values for _, values, _ in parts), starts, lengths)


def _steps(pack: Pack) -> Features:
    return (pack.utterance(row) if is_present else None for row, is_present in enumerate(pack.present))


def _generators(damage: Corruption, rows: pd.DataFrame) -> Iterator[np.random.Generator]:
    return (damage.generator(row) for row in zip(*(rows[name] for name in HASHED_COLUMNS), strict=True))


def _blank(damage: Corruption, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features:
    """Replace every utterance by the encoder's features of empty input."""
    return (None if steps is None else pack.blank for steps in _steps(pack))


def _shuffle(damage: Corruption, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features:
    """Permute the steps of every utterance."""
    pairs = zip(_steps(pack), _generators(damage, rows), strict=True)
    return (None if steps is None else generator.permutation(steps) for steps, generator in pairs)


def _drop(damage: Corruption, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features:
    """Replace each step, with the named probability, by the encoder's mean features of empty input."""
    rate, blank = damage.strength, pack.blank.mean(axis=0)
    pairs = zip(_steps(pack), _generators(damage, rows), strict=True)
    return (
        None if steps is None else np.where(generator.random((len(steps), 1)) < rate, blank, steps)
        for steps, generator in pairs
    )


def _noise(damage: Corruption, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features | None:
    """Add white noise at a signal-to-noise ratio and encode again; None without an encoder (imported features)."""
    selection = factory.select_encoder(damage.modality, corpus)
    encoder = selection.build()
    if encoder is None:
        return None
    reader = partial(_read_noisy, damage, damage.strength, selection.reader())
    folder = manifests.split_folder("test", corpus)
    return _steps(packing.encode_to_pack(packing.to_compute_device(encoder), reader, folder, rows))


def _read_noisy(
    damage: Corruption, ratio: float, clean_reader: Reader, folder: Path, rows: pd.DataFrame
) -> list[encoder_inputs.AudioInput | None]:
    pairs = zip(clean_reader(folder, rows), _generators(damage, rows), strict=True)
    return [
        sound and replace(sound, samples=_add_noise(sound.samples, ratio, generator)) for sound, generator in pairs
    ]


def _add_noise(samples: np.ndarray, ratio: float, generator: np.random.Generator) -> np.ndarray:
    """Add white noise; `ratio` is the utterance's mean power to the noise's, in dB."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    noise = generator.standard_normal(len(samples)) * np.sqrt(power / 10 ** (ratio / 10))
    return np.clip(samples + noise, -1, 1).astype(np.float32)


KINDS: dict[str, Callable[[Corruption, str, pd.DataFrame, Pack], Features | None]] = {
    "noise": _noise,
    "blank": _blank,
    "shuffle": _shuffle,
    "drop": _drop,
}
STRENGTHS = {"noise": (-100.0, 100.0, "dB"), "drop": (0.0, 1.0, "")}  # least, most and unit; 16 bits hold 96 dB
EXAMPLES = {
    "noise": "noise:audio/10dB",
    "blank": "blank:vision",
    "shuffle": "shuffle:vision",
    "drop": "drop:text/0.3",
}

"""Damage instead of absence: the test split as it would be with noise, blanked, shuffled or dropped steps.

The names are `noise:audio/10dB`, `blank:vision`, `shuffle:vision`, `drop:text/0.3`. Chance follows from the ids
of the utterance, as it does for masks. Only noise needs the encoder again; the others work on its features.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from merc import encoders, packs
from merc import manifest as manifests
from merc.batches import Split
from merc.conditions import ROW
from merc.encoders import packing, raw, tuned
from merc.encoders.card import Reader
from merc.packs import Pack
from merc.problem import Problem
from merc.streams import Stream

PLACE = "params.yaml: evaluate.corruptions"


@dataclass(frozen=True)
class Damage:
    """A corruption, read from its name."""

    name: str
    kind: str
    modality: str
    argument: str  # 10dB, 0.3, or nothing
    seed: int

    def generator(self, row: Sequence[str]) -> np.random.Generator:
        """Chance for one utterance, the same for every strength."""
        name = f"{self.seed}/" + "/".join([*row, self.modality, self.kind])
        return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()))

    def number(self) -> float:
        try:
            return float(self.argument.removesuffix("dB"))
        except ValueError:
            raise Problem(f"{PLACE}: {self.name!r}: write {EXAMPLES[self.kind]}") from None


def parse(name: str, seed: int) -> Damage:
    kind, _, rest = name.partition(":")
    modality, _, argument = rest.partition("/")
    if kind not in KINDS or modality not in manifests.MODALITIES or (kind == "noise" and modality != "audio"):
        raise Problem(f"{PLACE}: {name!r}: write one like {', '.join(EXAMPLES.values())}")
    return Damage(name, kind, modality, argument, seed)


def corrupted(split: Split, name: str, seed: int) -> Split | None:
    """The test split with one modality damaged; None if that can be done to no corpus."""
    damage = parse(name, seed)
    own = [stream for stream in split.features if stream.startswith(f"{damage.modality}/")]
    if not own:
        return None
    found: list[tuple[str, np.ndarray] | None] = [None] * len(split)
    done = False
    for corpus, rows in split.manifest.groupby("corpus", sort=False):
        table = rows.reset_index(drop=True)
        pack = packs.read(packs.path("test", corpus, damage.modality), table)
        stream, features = f"{damage.modality}/{pack.encoder}", KINDS[damage.kind](damage, corpus, table, pack)
        if features is None:
            print(f"evaluate: {name}: {corpus}'s {stream} cannot be encoded anew: left as it is")
        done |= features is not None
        for row, values in zip(rows.index, _steps(pack) if features is None else features, strict=True):
            found[row] = None if values is None else (stream, values)
    streams = {stream: _stream(stream, found, split.features[stream].dim) for stream in own}
    return replace(split, features=split.features | streams) if done else None


def _stream(name: str, found: list[tuple[str, np.ndarray] | None], dim: int) -> Stream:
    """The rows of one encoder; the others are absent in it."""
    own = {row: one[1] for row, one in enumerate(found) if one is not None and one[0] == name}
    lengths = np.array([len(own.get(row, ())) for row in range(len(found))], dtype=np.int64)
    values = np.concatenate([np.zeros((0, dim), np.float32), *own.values()]).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    starts = np.cumsum(lengths) - lengths
    return Stream(*map(torch.from_numpy, (values, starts, lengths)))


Features = list[np.ndarray | None]  # (steps, dim) an utterance, None where it is absent


def _steps(pack: Pack) -> Features:
    return [pack.utterance(row) if there else None for row, there in enumerate(pack.present)]


def _generators(damage: Damage, rows: pd.DataFrame) -> list[np.random.Generator]:
    return [damage.generator(row) for row in zip(*(rows[name] for name in ROW), strict=True)]


def _blank(damage: Damage, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features:
    """What the encoder makes of nothing, in place of every utterance."""
    return [None if one is None else pack.blank for one in _steps(pack)]


def _shuffle(damage: Damage, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features:
    """The same steps in another order."""
    pairs = zip(_steps(pack), _generators(damage, rows), strict=True)
    return [None if one is None else generator.permutation(one) for one, generator in pairs]


def _drop(damage: Damage, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features:
    """Every step, with the chance given, is what the encoder makes of nothing."""
    rate, nothing = damage.number(), pack.blank.mean(axis=0)
    pairs = zip(_steps(pack), _generators(damage, rows), strict=True)
    return [
        None if one is None else np.where(generator.random((len(one), 1)) < rate, nothing, one)
        for one, generator in pairs
    ]


def _noise(damage: Damage, corpus: str, rows: pd.DataFrame, pack: Pack) -> Features | None:
    """White noise at a ratio of signal to noise, encoded anew; None if nobody here can (imported features)."""
    config = encoders.section(damage.modality)
    name = encoders.chosen(config, corpus)
    encoder = encoders.build(damage.modality, name, config, weights=tuned.folder(damage.modality, name))
    if encoder is None:
        return None
    clean = encoders.module(damage.modality).reader(config)
    reader = partial(_noisy, damage, damage.number(), clean)
    return _steps(packing.pack(packing.place(encoder), reader, manifests.folder("test", corpus), rows))


def _noisy(damage: Damage, ratio: float, clean: Reader, folder: Path, rows: pd.DataFrame) -> list[raw.Sound | None]:
    pairs = zip(clean(folder, rows), _generators(damage, rows), strict=True)
    return [sound and replace(sound, samples=_add(sound.samples, ratio, generator)) for sound, generator in pairs]


def _add(samples: np.ndarray, ratio: float, generator: np.random.Generator) -> np.ndarray:
    """`ratio` in dB of the utterance's mean power to the noise's."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    noise = generator.standard_normal(len(samples)) * np.sqrt(power / 10 ** (ratio / 10))
    return np.clip(samples + noise, -1, 1).astype(np.float32)


KINDS: dict[str, Callable[[Damage, str, pd.DataFrame, Pack], Features | None]] = {
    "noise": _noise,
    "blank": _blank,
    "shuffle": _shuffle,
    "drop": _drop,
}
EXAMPLES = {
    "noise": "noise:audio/10dB",
    "blank": "blank:vision",
    "shuffle": "shuffle:vision",
    "drop": "drop:text/0.3",
}

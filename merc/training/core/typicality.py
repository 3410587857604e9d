"""Typicality: how usual an utterance's features are among those that were learnt from, by stream.

A stream's steps, standardised by train, are pooled into their means and the logarithms of their deviations. The
distance is Mahalanobis' from train's mean under train's covariance (Ledoit and Wolf 2004: utterances are fewer than
numbers). The typicality (k + 1) / (n + 1) is a conformal p-value: k of dev's n utterances are at least as far.
What is like dev is left out with a chance of at most FALSE_ALARMS, however few utterances dev has.

Of pooled means, with and without deviations or squares, and the student's latent means, by four covariances, this
pair found most of what is strange in dev's media (other words, tones, slowed or clipped sounds, faces upside down:
91 % on average, the latent 38 %); docs/predict.md tells what it finds on what was not used to choose it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from merc.data.batches.dataset import Split
from merc.data.batches.streams import FeatureStream
from merc.data.records.stream_name import StreamName

FILE = "typicality.safetensors"
FALSE_ALARMS = 0.05  # of utterances like dev's, those that lose a modality: at most
SOFTENING = 0.1  # standard deviations, added before the logarithm: a sequence of one step has none
# features a step; a wider stream is not judged: its precision would take gigabytes and many minutes
MAX_WIDTH = 2048
MAX_ROWS = 20_000  # utterances of train, and of dev, that are looked at, evenly: pooled they take 250 MB
BLOCK = 1000  # utterances whose steps are in memory at once


class StreamTypicality(NamedTuple):
    """What train and dev say about one stream of D features a step."""

    mean: np.ndarray  # (D,) of train's steps
    scale: np.ndarray  # (D,) their standard deviation
    centre: np.ndarray  # (2 D,) mean of train's pooled utterances
    precision: np.ndarray  # (2 D, 2 D) inverse of their covariance
    dev: np.ndarray  # (n,) distances of dev's utterances, ascending

    @classmethod
    def fit(cls, train: FeatureStream, dev: FeatureStream) -> Self | None:
        """None for a stream that is too wide, or of which train has fewer than two utterances, or dev none."""
        if train.dim > MAX_WIDTH or int((train.lengths > 0).sum()) < 2 or not bool((dev.lengths > 0).any()):
            return None
        from sklearn.covariance import LedoitWolf  # imported late: predicting does not need it

        mean, scale = (tensor.cpu().numpy() for tensor in train.statistics())
        pooled = np.concatenate([_pool(*block, mean, scale) for block in _blocks(train, MAX_ROWS)])
        precision = LedoitWolf().fit(pooled).get_precision()
        centre, precision = (np.asarray(one, np.float32) for one in (pooled.mean(axis=0), precision))
        fitted = cls(mean, scale, centre, precision, np.zeros(0, np.float32))
        distances = [fitted.distances(*block) for block in _blocks(dev, MAX_ROWS)]
        return fitted._replace(dev=np.sort(np.concatenate(distances).astype(np.float32)))

    def distances(self, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(N,) squared distances of N utterances with `lengths` of the steps `values` (R, D)."""
        offset = _pool(values, lengths, self.mean, self.scale) - self.centre
        return ((offset @ self.precision) * offset).sum(1)

    def typicality(self, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(N,) from 1 / (n + 1) to 1: the share of dev that is at least as far, the utterance itself counted."""
        distances = np.minimum(self.distances(values, lengths), np.finfo(np.float32).max)
        closer = np.searchsorted(self.dev, distances.astype(np.float32), side="left")
        return (len(self.dev) - closer + 1) / (len(self.dev) + 1)


Typicality = Mapping[str, StreamTypicality]  # by stream


def fit(train: Split, dev: Split) -> dict[str, StreamTypicality]:
    """The typicality of every stream that both splits have."""
    fitted = {
        name: StreamTypicality.fit(stream, dev.features[name])
        for name, stream in train.features.items()
        if name in dev.features
    }
    return {name: stream for name, stream in fitted.items() if stream is not None}


def threshold(modalities: Sequence[str]) -> float:
    """The typicality below or at which a modality is left out: the false alarms are shared among the modalities."""
    return FALSE_ALARMS / len(modalities)


def as_a_whole(by_modality: Iterable[float | None], modalities: Sequence[str]) -> float | None:
    """Typicality of an utterance: the least of its modalities', times their number (Bonferroni), at most 1."""
    known = [one for one in by_modality if one is not None and not np.isnan(one)]
    return min(1.0, len(modalities) * min(known)) if known else None


def of_split(fitted: Typicality, split: Split) -> np.ndarray:
    """(N, M) typicality of the split's utterances by modality; NaN where one is absent or not judged."""
    table = np.full((len(split), len(split.modalities)), np.nan)
    for name, stream in split.features.items():
        if name in fitted:
            rows = (stream.lengths > 0).cpu().numpy()
            values = [np.zeros(0), *(fitted[name].typicality(*block) for block in _blocks(stream))]
            table[rows, split.modalities.index(StreamName.parse(name).modality)] = np.concatenate(values)
    return table


def kept(fitted: Typicality, split: Split) -> np.ndarray:
    """(N, M) bool: False where a modality is left out because it is unlike what was learnt."""
    return ~(of_split(fitted, split) <= threshold(split.modalities))


def save(path: Path, fitted: Typicality) -> None:
    """Write the typicality of all streams; equal ones give equal bytes."""
    arrays = {f"{stream}/{name}": array for stream, one in fitted.items() for name, array in one._asdict().items()}
    save_file(arrays, path, metadata={"merc": json.dumps(sorted(fitted))})


def load(path: Path) -> dict[str, StreamTypicality]:
    """Read what `save` wrote."""
    arrays = load_file(path)
    streams = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    return {
        stream: StreamTypicality(
            *(arrays[f"{stream}/{name}"].astype(np.float64) for name in StreamTypicality._fields)
        )
        for stream in streams
    }


def shapes(path: Path) -> dict[str, list[int]]:
    """The shape of every array of a file, by name, without reading it; raises ValueError for another type."""
    with safe_open(path, "np") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        if types := {part.get_dtype() for part in slices.values()} - {"F32"}:
            raise ValueError(f"numbers of the type {min(types)}, not F32")
        return {name: list(part.get_shape()) for name, part in slices.items()}


def expected_shapes(width: int, num_dev: int) -> dict[str, list[int]]:
    """The shapes of a stream's arrays."""
    pooled = 2 * width
    return {"mean": [width], "scale": [width], "centre": [pooled], "precision": [pooled, pooled], "dev": [num_dev]}


def _blocks(stream: FeatureStream, most: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Steps (R, D) of present rows in order, and their numbers (n,), BLOCK rows at once; of `most` rows, evenly."""
    rows = stream.lengths.nonzero().squeeze(1)
    if most is not None and len(rows) > most:
        rows = rows[torch.linspace(0, len(rows) - 1, most, device=rows.device).round().long()]
    for block in rows.split(BLOCK):
        if len(block):
            yield stream.steps_of(block).cpu().numpy(), stream.lengths[block].cpu().numpy()


def _pool(values: np.ndarray, lengths: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N, 2 D) float64: means and log deviations of the standardised steps; what is not finite is the mean."""
    steps = (values.astype(np.float64) - mean) / scale
    steps[~np.isfinite(steps)] = 0.0
    first, count = np.cumsum(lengths) - lengths, lengths[:, None]
    means = np.add.reduceat(steps, first) / count
    centred = steps - np.repeat(means, lengths, axis=0)
    deviations = np.sqrt(np.add.reduceat(centred**2, first) / count)
    return np.concatenate([means, np.log(deviations + SOFTENING)], axis=1)

"""What a model is allowed to see: test conditions by name, and the masks that follow from ids alone.

`full` everything; `only:text+audio` those modalities; `rate:0.3/2` each modality of an utterance missing at
rate 0.3, second repeat; `rate:text=0.7+audio=0.3/2` a rate of its own for each modality named.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa

from merc.problem import Problem

FULL = "full"
ROW = ("corpus", "split", "dialogue", "utterance")  # what a mask's hash knows of an utterance


def names(
    modalities: Sequence[str],
    rates: Sequence[float],
    uneven: Sequence[Mapping[str, float]],
    repeats: int,
) -> list[str]:
    """Every condition that is scored: full, each smaller subset, each rate in each repeat."""
    sizes = range(1, len(modalities))
    subsets = ["only:" + "+".join(chosen) for size in sizes for chosen in combinations(modalities, size)]
    asked = [f"{rate:g}" for rate in rates] + [_uneven(each) for each in uneven]
    return [FULL, *subsets, *(f"rate:{rate}/{repeat}" for rate in asked for repeat in range(1, repeats + 1))]


def _uneven(rates: Mapping[str, float]) -> str:
    return "+".join(f"{modality}={rate:g}" for modality, rate in rates.items())


def present(condition: str, manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int) -> np.ndarray:
    """(N, M) which modalities the condition leaves; what an utterance never had is not its business."""
    kind, _, argument = condition.partition(":")
    if kind not in KINDS:
        raise Problem(f"condition {condition!r}: unknown; choose full, only:<modalities> or rate:<rate>/<repeat>")
    return KINDS[kind](argument, manifest, modalities, mask_seed)


def fractions(manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int, repeat: int | str) -> np.ndarray:
    """(N, M) numbers in [0, 1) that follow from the utterance's ids; below the rate = missing, so rates nest."""
    rows = [f"{mask_seed}/" + "/".join(row) for row in zip(*(manifest[name] for name in ROW), strict=True)]
    return np.array([[_fraction(f"{row}/{m}/{repeat}") for m in modalities] for row in rows]).reshape(
        len(rows), len(modalities)
    )


def _fraction(name: str) -> float:
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 11) / 2**53  # 53 bits: exact in a double


def masks(manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int, repeats: int) -> pa.Table:
    """What anyone needs to repeat the missing conditions: a column `<modality>/<repeat>` of fractions."""
    columns = {name: pa.array(manifest[name], pa.string()) for name in ROW}
    for repeat in range(1, repeats + 1):
        drawn = fractions(manifest, modalities, mask_seed, repeat)
        columns |= {f"{m}/{repeat}": pa.array(drawn[:, index]) for index, m in enumerate(modalities)}
    return pa.table(columns)


def _full(_argument: str, manifest: pd.DataFrame, modalities: Sequence[str], _mask_seed: int) -> np.ndarray:
    return np.ones((len(manifest), len(modalities)), dtype=bool)


def _only(argument: str, manifest: pd.DataFrame, modalities: Sequence[str], _mask_seed: int) -> np.ndarray:
    kept = [modality in argument.split("+") for modality in modalities]
    return np.tile(np.array(kept), (len(manifest), 1))


def _rate(argument: str, manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int) -> np.ndarray:
    rate, _, repeat = argument.partition("/")
    named = dict(part.split("=") for part in rate.split("+")) if "=" in rate else dict.fromkeys(modalities, rate)
    limits = np.array([float(named.get(modality, 0.0)) for modality in modalities])
    return fractions(manifest, modalities, mask_seed, repeat) >= limits


KINDS: dict[str, Callable[[str, pd.DataFrame, Sequence[str], int], np.ndarray]] = {
    "full": _full,
    "only": _only,
    "rate": _rate,
}

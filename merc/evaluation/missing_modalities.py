"""Test conditions by name, and their modality masks, which depend on the utterances' ids only.

`full`: every modality; `only:text+audio`: these modalities; `rate:0.3/2`: each modality of an utterance is missing
with probability 0.3, second repeat; `rate:text=0.7+audio=0.3/2`: a separate rate for each named modality.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa

from merc.runtime.errors import UserError

FULL = "full"
# the columns of an utterance that a mask's hash depends on
HASHED_COLUMNS = ("corpus", "split", "dialogue", "utterance")


def condition_names(
    modalities: Sequence[str], rates: Sequence[float], uneven: Sequence[Mapping[str, float]], repeats: int
) -> list[str]:
    """The names of all conditions: full, each proper subset, each rate in each repeat."""
    sizes = range(1, len(modalities))
    subsets = ["only:" + "+".join(subset) for size in sizes for subset in combinations(modalities, size)]
    rate_names = [f"{rate:g}" for rate in rates]
    rate_names += [
        "+".join(f"{modality}={rate:g}" for modality, rate in by_modality.items()) for by_modality in uneven
    ]
    return [FULL, *subsets, *(f"rate:{rate}/{repeat}" for rate in rate_names for repeat in range(1, repeats + 1))]


def condition_mask(condition: str, manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int) -> np.ndarray:
    """(N, M) bool mask: the modalities that the condition keeps, whether or not the utterance has them."""
    return condition_masks([condition], manifest, modalities, mask_seed)[condition]


def condition_masks(
    conditions: Iterable[str], manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int
) -> dict[str, np.ndarray]:
    """The mask of each condition; the ids are hashed once a repeat, whatever the number of its rates."""
    fractions = cache(partial(missing_fractions, manifest, modalities, mask_seed))
    masks = {}
    for condition in conditions:
        kind, _, argument = condition.partition(":")
        if kind not in KINDS:
            raise UserError(
                f"condition {condition!r}: unknown; choose full, only:<modalities> or rate:<rate>/<repeat>"
            )
        masks[condition] = KINDS[kind](argument, len(manifest), modalities, fractions)
    return masks


def missing_fractions(
    manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int, repeat: int | str
) -> np.ndarray:
    """(N, M) numbers in [0, 1), hashed from the utterances' ids; below the rate: missing, so rates are nested."""
    rows = [
        f"{mask_seed}/" + "/".join(row) for row in zip(*(manifest[name] for name in HASHED_COLUMNS), strict=True)
    ]
    return np.array([[_fraction(f"{row}/{m}/{repeat}") for m in modalities] for row in rows]).reshape(
        len(rows), len(modalities)
    )


def _fraction(name: str) -> float:
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 11) / 2**53  # 53 bits: exact in a double


def mask_table(manifest: pd.DataFrame, modalities: Sequence[str], mask_seed: int, repeats: int) -> pa.Table:
    """The table from which the rate conditions can be reproduced: a column `<modality>/<repeat>` of fractions."""
    columns = {name: pa.array(manifest[name], pa.string()) for name in HASHED_COLUMNS}
    for repeat in range(1, repeats + 1):
        values = missing_fractions(manifest, modalities, mask_seed, repeat)
        columns |= {f"{m}/{repeat}": pa.array(values[:, index]) for index, m in enumerate(modalities)}
    return pa.table(columns)


Fractions = Callable[[str], np.ndarray]  # repeat -> missing_fractions


def _full(_argument: str, rows: int, modalities: Sequence[str], _fractions: Fractions) -> np.ndarray:
    return np.ones((rows, len(modalities)), dtype=bool)


def _only(argument: str, rows: int, modalities: Sequence[str], _fractions: Fractions) -> np.ndarray:
    is_kept = [modality in argument.split("+") for modality in modalities]
    return np.tile(np.array(is_kept), (rows, 1))


def _rate(argument: str, _rows: int, modalities: Sequence[str], fractions: Fractions) -> np.ndarray:
    rate, _, repeat = argument.partition("/")
    by_modality = (
        dict(part.split("=") for part in rate.split("+")) if "=" in rate else dict.fromkeys(modalities, rate)
    )
    limits = np.array([float(by_modality.get(modality, 0.0)) for modality in modalities])
    return fractions(repeat) >= limits


KINDS: dict[str, Callable[[str, int, Sequence[str], Fractions], np.ndarray]] = {
    "full": _full,
    "only": _only,
    "rate": _rate,
}

"""Ragged feature packs: the features of one corpus, split and modality, one after another, in manifest order."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import save_file

from merc import manifest as manifests
from merc.problem import Problem


@dataclass(frozen=True)
class Pack:
    """Utterance i owns steps offsets[i]:offsets[i+1]; an absent one owns none."""

    values: np.ndarray  # (steps, dim) float16, or float32 when imported
    offsets: np.ndarray  # (N + 1,) int64
    present: np.ndarray  # (N,) bool
    blank: np.ndarray  # (blank steps, dim): the encoder's answer to empty text, silence, a black frame
    units: np.ndarray  # (steps, len(unit_names)) float32: what each step is
    # text: char_start, char_end; audio: start, end; vision: time, left, top, width, height
    unit_names: tuple[str, ...]
    encoder: str
    step_seconds: float | None

    @property
    def dim(self) -> int:
        return self.values.shape[1]

    def utterance(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


def folder(split: str) -> Path:
    return Path("out/encode") / split


def path(split: str, corpus: str, modality: str) -> Path:
    return folder(split) / f"{corpus}.{modality}.safetensors"


def collect(
    features: list[np.ndarray | None],
    units: list[np.ndarray | None],
    blank: np.ndarray,
    *,
    encoder: str,
    unit_names: tuple[str, ...],
    step_seconds: float | None,
    dtype=np.float16,
) -> Pack:
    """A pack of one (steps, dim) array per utterance; None where the utterance lacks the modality."""
    lengths = [0 if one is None else len(one) for one in features]
    _fits([blank, *(one for one in features if one is not None)], dtype, encoder)
    empty, no_units = np.zeros((0, blank.shape[1]), dtype), np.zeros((0, len(unit_names)), np.float32)
    return Pack(
        values=np.concatenate([empty, *(one.astype(dtype) for one in features if one is not None)]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        present=np.array([one is not None for one in features], dtype=bool),
        blank=blank.astype(dtype),
        units=np.concatenate([no_units, *(one.astype(np.float32) for one in units if one is not None)]),
        unit_names=unit_names,
        encoder=encoder,
        step_seconds=step_seconds,
    )


def _fits(arrays: list[np.ndarray], dtype: type, encoder: str) -> None:
    """Refuse what would silently become infinite."""
    largest = max((float(np.abs(array).max()) for array in arrays if array.size), default=0.0)
    if largest > float(np.finfo(dtype).max):
        raise Problem(f"{encoder}: features up to {largest:g} do not fit into {np.dtype(dtype)}; write float32")


def write(file: Path, pack: Pack, manifest: pd.DataFrame) -> None:
    """Write a pack that belongs to this manifest and to no other."""
    if len(pack.present) != len(manifest):
        raise ValueError(f"{len(pack.present)} utterances, {len(manifest)} rows")
    arrays = {
        name: np.ascontiguousarray(getattr(pack, name))
        for name in ("values", "offsets", "present", "blank", "units")
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    # one metadata key: safetensors writes several in random order
    save_file(arrays, file, metadata={"merc": about(pack, manifest)})


def about(pack: Pack, manifest: pd.DataFrame) -> str:
    """The metadata of a pack's file."""
    facts = {
        "rows": manifests.digest(manifest),
        "encoder": pack.encoder,
        "unit_names": pack.unit_names,
        "step_seconds": pack.step_seconds,
    }
    return json.dumps(facts, sort_keys=True)


def present(file: Path) -> np.ndarray:
    """Which rows a written pack has, without its features."""
    with safe_open(file, framework="numpy") as opened:
        return opened.get_tensor("present")


def read(file: Path, manifest: pd.DataFrame) -> Pack:
    """Read a pack, refusing one that was made for other rows."""
    if not file.is_file():
        raise Problem(f"{file}: not there; run `dvc repro encode`")
    with safe_open(file, framework="numpy") as opened:
        facts = json.loads(opened.metadata()["merc"])
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    if facts["rows"] != manifests.digest(manifest):
        raise Problem(f"{file}: was made for other rows than the manifest's; run `dvc repro encode`")
    return Pack(
        **arrays,
        unit_names=tuple(facts["unit_names"]),
        encoder=facts["encoder"],
        step_seconds=facts["step_seconds"],
    )

"""How far the exported files answer as the checkpoint does, on dev."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from merc import encoders, portable
from merc import manifest as manifests
from merc.batches import Split
from merc.encoders.encoder import Encoder, features
from merc.engine import DIALOGUES
from merc.sessions import Session
from merc.streams import Stream

Logits = Mapping[str, np.ndarray]


def answers(path: Path, split: Split, streams: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Logits (N, C) of every task, from an ONNX file."""
    session = Session(path)
    found = [session(portable.arrays(batch, streams)) for batch in split.batches(DIALOGUES)]
    return {name: np.concatenate([one[name] for one in found]) for name in session.outputs if found}


def compare(own: Logits, other: Logits, tasks: Sequence[str]) -> dict[str, float | None]:
    """The largest difference of a logit, and the share of utterances of the same label, by task."""
    if not len(own["emotion"]):
        return {"difference": None, **dict.fromkeys(tasks)}
    difference = max(float(np.abs(own[task] - other[task]).max()) for task in tasks)
    same = {task: float((own[task].argmax(1) == other[task].argmax(1)).mean()) for task in tasks}
    return {"difference": difference, **same}


def encoded_by(split: Split, shipped: Mapping[str, Encoder], needed: Mapping[str, dict[str, Any]]) -> Split:
    """The split with the features that these encoders, by modality, make of the same media."""
    made = {}
    for modality, encoder in shipped.items():
        stream = f"{modality}/{encoder.name}"
        config = encoders.configured(modality, needed[modality])
        made[stream] = _encoded(split, split.features[stream], modality, encoder, config)
    return replace(split, features={**split.features, **made})


def _encoded(split: Split, known: Stream, modality: str, encoder: Encoder, config: Any) -> Stream:
    """Of the rows that have features of this encoder, those that it makes now."""
    read = encoders.module(modality).reader(config)
    raw: list[Any] = []
    for _, rows in split.manifest.groupby("corpus", sort=False):
        raw += read(_folder(rows), rows.reset_index(drop=True))
    there = np.flatnonzero(known.lengths.numpy())
    encoded = features(encoder, [raw[row] for row in there])
    lengths = np.zeros(len(split), np.int64)
    lengths[there] = [len(one) for one in encoded]
    values = np.concatenate(encoded).astype(encoder.stored).astype(np.float32) if encoded else known.values.numpy()
    return Stream(*map(torch.from_numpy, (values, np.cumsum(lengths) - lengths, lengths)))


def _folder(rows: pd.DataFrame) -> Path:
    return Path(manifests.folder(rows["split"].iloc[0], rows["corpus"].iloc[0]))

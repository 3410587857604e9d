"""Agreement of the exported ONNX files with the checkpoint on dev: difference of logits, equal labels."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merc.data.batches.dataset import Split
from merc.data.batches.streams import FeatureStream
from merc.data.records import manifest as manifests
from merc.data.records.labels import Task
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder, extract_features
from merc.export import onnx_network
from merc.export.onnx_files import OnnxSession
from merc.training.core.loop import EVALUATION_BATCH_SIZE
from merc.training.core.task_scores import task_scores

Logits = Mapping[str, np.ndarray]


def onnx_logits(path: Path, split: Split, streams: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Logits (N, C) of every task, from an ONNX file."""
    session = OnnxSession(path)
    outputs = [session(onnx_network.named_arrays(batch, streams)) for batch in split.batches(EVALUATION_BATCH_SIZE)]
    return {name: np.concatenate([output[name] for output in outputs]) for name in session.outputs if outputs}


def compare_logits(logits: Logits, other: Logits, tasks: Mapping[str, Task]) -> dict[str, float | None]:
    """The largest absolute difference of an output, and by task the fraction of utterances with equal answers."""
    if not all(len(outputs) for outputs in logits.values()):
        return {"difference": None, **dict.fromkeys(logits)}
    difference = max(float(np.abs(outputs - other[task]).max()) for task, outputs in logits.items())
    agreement = {task: float(_agrees(tasks[task], outputs, other[task]).mean()) for task, outputs in logits.items()}
    return {"difference": difference, **agreement}


def _agrees(task: Task, outputs: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) bool: the same class, the same classes, or numbers within a hundredth of the range."""
    first, second = (task_scores(task).answers(each) for each in (outputs, other))
    if task.kind == "regression":
        return np.abs(first - second) <= (task.high - task.low) / 100
    return (first == second).reshape(len(first), -1).all(1)


def with_features_of(split: Split, encoders: Mapping[str, Encoder], needed: Mapping[str, dict[str, Any]]) -> Split:
    """The split with features recomputed by these encoders (by modality) from the same media."""
    recomputed = {}
    for modality, encoder in encoders.items():
        stream = str(StreamName(modality, encoder.name))
        config = factory.exported_section(modality, needed[modality])
        recomputed[stream] = _encode(split, split.features[stream], modality, encoder, config)
    return replace(split, features={**split.features, **recomputed})


def _encode(split: Split, stream: FeatureStream, modality: str, encoder: Encoder, config: Any) -> FeatureStream:
    """Recompute a stream's features for the rows that have any."""
    read = factory.modality_package(modality).reader(config)
    raw: list[Any] = []
    for corpus, rows in split.manifest.groupby("corpus", sort=False):
        folder = manifests.split_folder(rows["split"].iloc[0], str(corpus))
        raw += read(folder, rows.reset_index(drop=True))
    present = np.flatnonzero(stream.lengths.numpy())
    encoded = extract_features(encoder, [raw[row] for row in present])
    lengths = np.zeros(len(split), np.int64)
    lengths[present] = [len(values) for values in encoded]
    values = np.concatenate([np.zeros((0, stream.dim)), *encoded]).astype(encoder.stored).astype(np.float32)
    return FeatureStream.of(*map(torch.from_numpy, (values, np.cumsum(lengths) - lengths, lengths)))

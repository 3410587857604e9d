"""Inference on a dialogue's features: batches, context windows of long dialogues, and rows of predictions."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from merc.data.batches.streams import FeatureStream
from merc.data.records.labels import Task
from merc.serve.predictor import answers
from merc.serve.predictor.dialogue import Dialogue, PredictionRow, RecordedUtterance
from merc.training.core import speaker_offsets, typicality
from merc.training.core.calibration import Calibration
from merc.training.core.speaker_offsets import Speakers

# Utterances of a dialogue that the network gets at once, and how many of them on each side are context only. The
# longest dialogue of MELD has 33.
WINDOW_SIZE, CONTEXT_MARGIN = 96, 24
WHOLE = "whole"  # an utterance, beside its modalities
Outputs = dict[str, np.ndarray]  # outputs (N, C) by task; `gate` (N, C, M) if the fusion has gates
Forward = Callable[[dict[str, Any]], Outputs]


def predict_outputs(
    ask: Forward, dialogue: Dialogue, modalities: Sequence[str], streams: dict[str, str], fitted: Speakers
) -> Outputs:
    """Network outputs for all utterances; `streams` maps each modality to its feature stream."""
    roles, offsets, chunks = dialogue.speakers, offsets_of_speakers(dialogue, streams, fitted), []
    for first, last, begin, end in context_windows(dialogue.starts):
        own = {name: of_rows[first:last] for name, of_rows in offsets.items()}
        batch = collate_dialogue(dialogue.utterances[first:last], roles[first:last], modalities, streams, own)
        chunks.append({name: values[begin - first : end - first] for name, values in ask(batch).items()})
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in (chunks[0] if chunks else ())}


def context_windows(starts: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Input rows first:last and predicted rows begin:end of each window; each row is predicted once, in order."""
    for start, stop in itertools.pairwise(starts):
        if stop - start <= WINDOW_SIZE:
            yield start, stop, start, stop
            continue
        for begin in range(start, stop, WINDOW_SIZE - 2 * CONTEXT_MARGIN):
            end = min(begin + WINDOW_SIZE - 2 * CONTEXT_MARGIN, stop)
            yield max(begin - CONTEXT_MARGIN, start), min(end + CONTEXT_MARGIN, stop), begin, end


def offsets_of_speakers(dialogue: Dialogue, streams: dict[str, str], fitted: Speakers) -> dict[str, torch.Tensor]:
    """(N, D) by stream: the offset of each utterance's speaker, estimated from all utterances of the same name."""
    features = {name: dialogue.features(modality) for modality, name in streams.items() if name in fitted}
    return speaker_offsets.of_utterances(fitted, features, [one.speaker for one in dialogue])


def collate_dialogue(
    utterances: Sequence[RecordedUtterance],
    roles: Sequence[int],
    modalities: Sequence[str],
    streams: dict[str, str],
    offsets: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """Collate one dialogue into a batch of the network (merc/data/batches/dataset.py)."""
    count = len(utterances)
    indices = torch.arange(count)
    batch = {"values": {}, "rows": {}, "steps": {}}
    is_present = torch.zeros(count, len(modalities), dtype=torch.bool)
    for modality, name in streams.items():
        stream = _stream(utterances, modality)
        if stream is not None:
            for part, tensor in zip(("values", "rows", "steps"), stream.gather(indices), strict=True):
                batch[part][name] = tensor
            is_present[batch["rows"][name], modalities.index(modality)] = True
    return batch | {
        "speaker_offsets": offsets,
        "present": is_present,
        "place": torch.stack([torch.zeros_like(indices), indices], 1),
        "speaker": torch.tensor(roles, dtype=torch.long),
    }


def _stream(utterances: Sequence[RecordedUtterance], modality: str) -> FeatureStream | None:
    """Features of the utterances that have any finite value; None if there are none."""
    features = Dialogue(list(utterances)).features(modality)
    features = [None if values is None or not np.isfinite(values).any() else values for values in features]
    present = [values for values in features if values is not None]
    if not present:
        return None
    lengths = np.array([0 if values is None else len(values) for values in features])
    starts = np.cumsum(lengths) - lengths
    joined = np.concatenate(present).astype(np.float32)
    return FeatureStream.of(*map(torch.from_numpy, (joined, starts, lengths)))


def hide_modalities(batch: dict[str, Any], modalities: Sequence[str], hide: Iterable[str]) -> dict[str, Any]:
    """The batch with the modalities in `hide` absent from all utterances."""
    is_kept = torch.tensor([modality not in set(hide) for modality in modalities])
    return batch | {"present": batch["present"] & is_kept}


def prediction_rows(
    dialogue: Dialogue,
    outputs: Outputs,
    tasks: Mapping[str, Task],
    calibrated: Mapping[str, Calibration],
    modalities: Sequence[str],
    hide: Iterable[str],
) -> list[PredictionRow]:
    """One row per utterance with the keys of docs/predict.md."""
    by_task = {
        name: answers.task_answers(task, outputs[name], calibrated[name])
        for name, task in tasks.items()
        if name in outputs
    }
    first = next((name for name in by_task if tasks[name].kind == "classification"), next(iter(by_task), ""))
    sets = answers.likely_sets(tasks.get(first), by_task.get(first, []), calibrated.get(first, {}))
    kinds = {name: task.kind for name, task in tasks.items() if task.kind != "classification"}
    hide = set(hide)
    table = []
    for index, utterance in enumerate(dialogue):
        missing = [modality for modality in modalities if modality in hide or modality not in utterance.features]
        too_many = tasks[first].kind == "classification" and 2 * len(sets[index]) > len(tasks[first].classes)
        table.append(
            {
                "utterance": utterance.name,
                "start": round(utterance.start, 3),
                "end": round(utterance.end, 3),
                "speaker": utterance.speaker,
                "text": utterance.text,
                "text_source": utterance.text_source,
                **{name: rows[index] for name, rows in by_task.items()},
                **({"sentiment": {}} if "emotion" in by_task and "sentiment" not in by_task else {}),
                **({"kinds": kinds} if kinds else {}),
                "gates": _gates(outputs, index, modalities, first),
                "prediction_set": sets[index],
                "typicality": _typicality(utterance, modalities),
                "missing": missing,
                "abstains": too_many or len(missing) == len(modalities),
            }
        )
    return table


def _typicality(utterance: RecordedUtterance, modalities: Sequence[str]) -> dict[str, float | None]:
    """Typicality of each modality, None where it is missing or cannot be judged, and of the whole."""
    by_modality = {modality: utterance.typicality.get(modality) for modality in modalities}
    values = by_modality | {WHOLE: typicality.as_a_whole(by_modality.values(), modalities)}
    return {name: None if value is None else round(value, 4) for name, value in values.items()}


def _gates(outputs: Outputs, index: int, modalities: Sequence[str], lead: str) -> dict[str, float]:
    """Gate weight of each modality for the predicted class, or the only gate; {} for a fusion without gates."""
    if "gate" not in outputs:
        return {}
    gates = outputs["gate"][index]
    gate = gates[outputs[lead][index].argmax() if len(gates) > 1 else 0]
    return dict(zip(modalities, gate.astype(float).tolist(), strict=True))

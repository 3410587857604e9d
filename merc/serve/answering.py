"""From features to rows: whole dialogues, long ones in windows, through a network on any engine."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from merc import calibration
from merc.serve.dialogue import Dialogue, Row, Utterance
from merc.streams import Stream

# Utterances of a dialogue that the network sees at once, and how many of them on each side are only context. The
# longest dialogue of MELD has 33.
WINDOW, MARGIN = 96, 24
Answers = dict[str, np.ndarray]  # a task's logits (N, C); `gate` (N, C, M) of a fusion that has one
Ask = Callable[[dict[str, Any]], Answers]


def answers(ask: Ask, dialogue: Dialogue, modalities: Sequence[str], streams: dict[str, str]) -> Answers:
    """The network's answers to every utterance; `streams` names each modality's."""
    roles, found = dialogue.speakers, []
    for first, last, begin, end in windows(dialogue.starts):
        batch = gather(dialogue.utterances[first:last], roles[first:last], modalities, streams)
        found.append({name: values[begin - first : end - first] for name, values in ask(batch).items()})
    return {name: np.concatenate([one[name] for one in found]) for name in (found[0] if found else ())}


def windows(starts: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """What is seen, first:last, and what of it is answered, begin:end; every row is answered once, in order."""
    for start, stop in itertools.pairwise(starts):
        if stop - start <= WINDOW:
            yield start, stop, start, stop
            continue
        for begin in range(start, stop, WINDOW - 2 * MARGIN):
            end = min(begin + WINDOW - 2 * MARGIN, stop)
            yield max(begin - MARGIN, start), min(end + MARGIN, stop), begin, end


def gather(
    utterances: Sequence[Utterance], roles: Sequence[int], modalities: Sequence[str], streams: dict[str, str]
) -> dict[str, Any]:
    """What the network takes (merc/batches.py) of one dialogue."""
    count = len(utterances)
    every = torch.arange(count)
    batch = {"values": {}, "rows": {}, "steps": {}}
    present = torch.zeros(count, len(modalities), dtype=torch.bool)
    for modality, stream in streams.items():
        read = _stream(utterances, modality)
        if read is not None:
            gathered = zip(("values", "rows", "steps"), read.gather(every), strict=True)
            for name, tensor in gathered:
                batch[name][stream] = tensor
            present[batch["rows"][stream], modalities.index(modality)] = True
    return batch | {
        "present": present,
        "place": torch.stack([torch.zeros_like(every), every], 1),
        "speaker": torch.tensor(roles, dtype=torch.long),
    }


def _stream(utterances: Sequence[Utterance], modality: str) -> Stream | None:
    """The features of those that have any number in them; None if nobody has."""
    values = [one.features[modality].values if modality in one.features else None for one in utterances]
    values = [None if one is None or not np.isfinite(one).any() else one for one in values]
    there = [one for one in values if one is not None]
    if not there:
        return None
    lengths = np.array([0 if one is None else len(one) for one in values])
    starts = np.cumsum(lengths) - lengths
    joined = np.concatenate(there).astype(np.float32)
    joined[~np.isfinite(joined)] = np.nan
    return Stream(*map(torch.from_numpy, (joined, starts, lengths)))


def hidden(batch: dict[str, Any], modalities: Sequence[str], hide: Iterable[str]) -> dict[str, Any]:
    """The batch with these modalities absent everywhere."""
    kept = torch.tensor([modality not in set(hide) for modality in modalities])
    return batch | {"present": batch["present"] & kept}


def rows(
    dialogue: Dialogue,
    found: Answers,
    labels: dict[str, Sequence[str]],
    calibrated: dict[str, dict[str, float]],
    modalities: Sequence[str],
    hide: Iterable[str],
) -> list[Row]:
    """One row an utterance, as docs/predict.md describes it."""
    told = {
        task: calibration.apply(found[task].astype(np.float64), calibrated[task])
        for task in ("emotion", "sentiment")
        if task in found
    }
    sets = calibration.members(told["emotion"], calibrated["emotion"]) if len(dialogue) else ()
    absent = set(hide)
    table = []
    for number, one in enumerate(dialogue):
        missing = [modality for modality in modalities if modality in absent or modality not in one.features]
        chances = {task: dict(zip(labels[task], told[task][number].tolist(), strict=True)) for task in told}
        ranked = sorted(np.flatnonzero(sets[number]), key=lambda index: -told["emotion"][number, index])
        table.append(
            {
                "utterance": one.name,
                "start": round(one.start, 3),
                "end": round(one.end, 3),
                "speaker": one.speaker,
                "text": one.text,
                "emotion": chances["emotion"],
                "sentiment": chances.get("sentiment", {}),
                "gates": _gates(found, number, modalities),
                "prediction_set": [labels["emotion"][index] for index in ranked],
                "missing": missing,
                "abstains": 2 * len(ranked) > len(labels["emotion"]) or len(missing) == len(modalities),
            }
        )
    return table


def _gates(found: Answers, number: int, modalities: Sequence[str]) -> dict[str, float]:
    """How the emotion that is predicted trusts each modality; {} of a fusion without gates."""
    if "gate" not in found:
        return {}
    gate = found["gate"][number, found["emotion"][number].argmax()]
    return dict(zip(modalities, gate.astype(float).tolist(), strict=True))

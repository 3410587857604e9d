"""The gallery's utterances: one right, one wrong, the least certain, one of every emotion; their raw inputs."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any, cast

import numpy as np
import pandas as pd

from merc.data.batches.dataset import Split
from merc.data.records import manifest as manifests
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder
from merc.explanation import one_utterance
from merc.explanation.gallery.page import GalleryEntry
from merc.explanation.methods import token_shap


def choose_utterances(
    probabilities: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]
) -> list[tuple[int, str]]:
    """Select distinct (row, reason) from probabilities (N, C) of the `labels` and targets (N,), -1 if missing."""
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    is_right, is_wrong = predicted == targets, (targets >= 0) & (predicted != targets)
    criteria = [("surest that is right", is_right, confidence), ("surest that is wrong", is_wrong, confidence)]
    criteria += [("least certain", np.ones(len(confidence), bool), -confidence)]
    criteria += [
        (f"surest {name}", is_right & (targets == number), confidence) for number, name in enumerate(labels)
    ]
    picks: dict[int, str] = {}
    for reason, is_candidate, score in criteria:
        rows = [row for row in np.flatnonzero(is_candidate) if row not in picks]
        if rows:
            picks[int(rows[int(np.argmax(score[rows]))])] = reason
    return list(picks.items())


def explain_utterances(network: Any, name: str, split: Split, picks: list[tuple[int, str]]) -> list[GalleryEntry]:
    """Explain each picked row by every method except SHAP values of its tokens."""
    return [
        GalleryEntry(reason, rows, row, raw, one_utterance.explain(network, batch, row, raw, encoders))
        for reason, rows, row, raw, batch, encoders in inputs_of(name, split, picks)
    ]


def explain_tokens(network: Any, name: str, split: Split, picks: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """SHAP values of each picked row's tokens."""
    return [
        token_shap.explain(network, batch, row, raw, encoders)
        for _, _, row, raw, batch, encoders in inputs_of(name, split, picks)
    ]


def add_token_scores(shown: list[GalleryEntry], more: list[dict[str, Any]]) -> list[GalleryEntry]:
    """Add the SHAP values of tokens to the first entries, which are those that have them."""
    pairs = cast("Iterable[tuple[GalleryEntry, dict[str, Any]]]", zip_longest(shown, more, fillvalue={}))
    return [replace(entry, explanation=entry.explanation | shap) for entry, shap in pairs]


def inputs_of(name: str, split: Split, picks: list[tuple[int, str]]) -> Iterator[tuple]:
    """Of each pick: reason, rows of its dialogue, its index in them, its raw inputs, a batch, the encoders."""
    starts, encoders_by_corpus = split.starts.cpu().numpy(), {}
    for row, reason in picks:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        rows = np.arange(starts[number], starts[number + 1])
        index, corpus = row - int(starts[number]), split.manifest["corpus"].iloc[row]
        if corpus not in encoders_by_corpus:
            encoders_by_corpus[corpus] = _encoders_by_stream(corpus, split)
        encoders, dialogue = encoders_by_corpus[corpus], split.manifest.iloc[rows]
        raw = {
            modality: inputs[index] for modality, inputs in _raw_inputs(name, corpus, dialogue, encoders).items()
        }
        yield reason, dialogue, index, raw, split.batch([number]), encoders


def _encoders_by_stream(corpus: str, split: Split) -> dict[str, Encoder]:
    """The encoder of each stream of the split's features, except imported streams, whose inputs are unknown."""
    encoders = {}
    for modality in split.modalities:
        selection = factory.select_encoder(modality, corpus)
        if selection.stream in split.features:
            encoder = selection.build()
            if encoder is not None and encoder.unit_names:
                encoders[selection.stream] = encoder
    return encoders


def _raw_inputs(name: str, corpus: str, rows: pd.DataFrame, encoders: dict[str, Encoder]) -> dict[str, list[Any]]:
    """By modality, the input of its encoder for each row of the manifest: texts, sounds, faces."""
    folder, modalities = manifests.split_folder(name, corpus), {StreamName.parse(s).modality for s in encoders}
    return {
        modality: factory.modality_package(modality).reader(factory.encoding_section(modality))(folder, rows)
        for modality in sorted(modalities)
    }

"""The models that can be run: a Hugging Face pipeline, a function, and encoders, whose features a probe reads."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merc.data.records.manifest import MODALITIES
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features
from merc.encoders.classifier import load_classifier
from merc.runtime.errors import UserError
from merc.studies.run_model.inputs import ModelInput
from merc.studies.run_model.label_names import LabelNames, normalised

Answer = list[float] | None  # probabilities by class, or a pooled vector; None without input
# what a merc encoder is set to, as in presets/sample.yaml
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"max_tokens": 64, "clean": ["cp1252"], "before": 0, "after": 0, "speakers": False},
    "audio": {"frame_rate": 10.0, "layer": -1},
    "vision": {"picture": "face", "frame_rate": 5.0},
}


@dataclass(frozen=True)
class RunnableModel:
    """A model: what it needs, and a function of inputs and of their names for messages."""

    needed: frozenset[str]  # of text, audio, vision
    answer: Callable[[Sequence[ModelInput], Sequence[str]], list[Answer]]
    modality: str = ""  # of its features; empty if it answers with probabilities


def pipeline(name: str, kind: str, names: LabelNames) -> RunnableModel:
    """A text or audio classifier: a folder, or an id of the hub."""
    classifier = load_classifier(name, kind)
    for label in classifier.labels:
        names.class_of(label)

    def answer(inputs: Sequence[ModelInput], places: Sequence[str]) -> list[Answer]:
        if kind == "text":
            is_there = [one.text is not None for one in inputs]
            found = iter(classifier.texts([one.text.text for one in inputs if one.text]))
        else:
            is_there = [one.sound is not None for one in inputs]
            found = iter(classifier.sounds([one.sound for one in inputs if one.sound]))
        pairs = zip(is_there, places, strict=True)
        return [names.probabilities(next(found), place) if there else None for there, place in pairs]

    return RunnableModel(frozenset([kind]), answer)


def function(word: str, names: LabelNames, needed: frozenset[str]) -> RunnableModel:
    """A function (text, wav, frames) -> probabilities, by class or by the model's own names."""
    call = named_object("--function", word)

    def answer(inputs: Sequence[ModelInput], places: Sequence[str]) -> list[Answer]:
        return [_called(call, word, names, *pair) for pair in zip(inputs, places, strict=True)]

    return RunnableModel(needed, answer)


def _called(call: Any, word: str, names: LabelNames, one: ModelInput, place: str) -> list[float]:
    text = one.text.text if one.text else ""
    sound, face = (one.sound.samples if one.sound else None), (one.face.crops if one.face else None)
    try:
        found = call(text, sound, face)
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{word}: {place}: {message}; what is done is kept: run it again to go on") from error
    if isinstance(found, Mapping):
        return names.probabilities(found, f"{word}: {place}")
    values = np.asarray(found, dtype=np.float64).ravel().tolist()
    if len(values) != len(names.classes):
        raise UserError(
            f"{word}: {place}: gives {len(values)} numbers, and there are {len(names.classes)} classes: "
            f"{', '.join(names.classes)}"
        )
    return normalised(values, f"{word}: {place}")


def encoder(word: str, layer: int | None) -> RunnableModel:
    """Features: a merc encoder, <modality>/<name>, or module:object with encode(list of texts) -> array."""
    modality, _, name = word.partition("/")
    if ":" in word and modality not in MODALITIES:
        return _text_encoder(word)
    if modality not in MODALITIES or not name:
        raise UserError(f"--encoder {word}: write <modality>/<name>, as audio/whisper-base, or module:object")
    settings = SETTINGS[modality] | ({} if layer is None else {"layer": layer})
    section = factory.exported_section(modality, {"encoder": name, "settings": settings})
    made = factory.build(modality, name, section)
    if made is None:
        raise UserError(f"--encoder {word}: computes nothing")
    column = MODALITIES.index(modality)

    def answer(inputs: Sequence[ModelInput], places: Sequence[str]) -> list[Answer]:
        raw = [one[column] for one in inputs]
        found = iter(extract_features(made, [one for one in raw if one is not None]))
        return [None if one is None else _two_steps(next(found)) for one in raw]

    return RunnableModel(frozenset([modality]), answer, modality)


def _text_encoder(word: str) -> RunnableModel:
    made = named_object("--encoder", word)
    if isinstance(made, type) or not hasattr(made, "encode"):
        made = made()

    def answer(inputs: Sequence[ModelInput], places: Sequence[str]) -> list[Answer]:
        texts = [one.text.text for one in inputs if one.text]
        found = np.asarray(made.encode(texts), dtype=np.float64) if texts else np.zeros((0, 1))
        if found.ndim != 2 or len(found) != len(texts) or not np.isfinite(found).all():
            raise UserError(f"{word}: encode gives {found.shape} for {len(texts)} texts: finite (texts, numbers)")
        vectors = iter(found)
        return [_two_steps(next(vectors)[None]) if one.text else None for one in inputs]

    return RunnableModel(frozenset(["text"]), answer, "text")


def _two_steps(steps: np.ndarray) -> list[float]:
    """Two steps with the mean and the deviation of all steps (S, D), which are all that the probe looks at."""
    steps = np.nan_to_num(steps.astype(np.float64), posinf=0.0, neginf=0.0)
    mean, deviation = steps.mean(0), steps.std(0)
    return np.stack([mean - deviation, mean + deviation]).astype(np.float32).ravel().tolist()


def named_object(option: str, word: str) -> Any:
    """What module:name names; modules in the current folder are found, too."""
    module, _, name = word.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{option} {word}: {error}; write module:name") from None
    finally:
        sys.path.remove(str(Path.cwd()))

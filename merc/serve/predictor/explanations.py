"""Explanations of predictions as the web page draws them: scores of modalities, words, sound and face regions."""

from typing import Any, NamedTuple

import numpy as np

from merc.encoders.base.encoder import Encoder
from merc.explanation import one_utterance
from merc.serve.predictor import inference, recording_reader
from merc.serve.predictor.dialogue import Dialogue, RecordedUtterance, text_encoder_inputs
from merc.serve.predictor.predictor import Predictor
from models import checkpoint

ENVELOPE_BINS = 120  # of the drawn sound envelope
DIGITS = 4


class ExplanationArguments(NamedTuple):
    """Arguments of the explanation functions: one utterance in the window of its dialogue."""

    network: Any
    batch: dict[str, Any]
    row: int  # of the utterance in the window
    raw: dict[str, Any]  # the utterance's encoder inputs by modality
    encoders: dict[str, Encoder]  # by stream


class PredictionExplainer:
    """Applies merc/explanation/one_utterance.py to utterances that a predictor read; its engine must be torch."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.network = predictor, checkpoint.load(predictor.folder).eval()

    def explain(self, dialogue: Dialogue, number: int, hide: tuple[str, ...]) -> dict[str, Any]:
        """Scores in log-odds of the predicted emotion, `label`; positive ones support it."""
        arguments = self.arguments_for(dialogue, number, hide)
        explanation = one_utterance.explain(*arguments)
        modalities = explanation["modalities"].items()
        return {
            "label": explanation["emotion"],
            "typicality": dialogue.utterances[number].typicality,
            "modalities": [_scored(name, value) for name, value in modalities if value is not None],
            "words": [_scored(word, value) for word, value in explanation["words"]],
            "sound": _sound(explanation["sound"], dialogue.utterances[number]),
            "picture": _picture(explanation["picture"], dialogue.utterances[number]),
            "influence": [
                {"place": turn + number - arguments.row} | _scored("", value)
                for turn, value in explanation["influence"]
            ],
        }

    def arguments_for(self, dialogue: Dialogue, number: int, hide: tuple[str, ...] = ()) -> "ExplanationArguments":
        """Arguments of one_utterance.explain and token_shap.explain for an utterance."""
        first, last = next(
            (first, last)
            for first, last, begin, end in inference.context_windows(dialogue.starts)
            if begin <= number < end
        )
        predictor = self.predictor
        trusted, streams = predictor.trusted(dialogue), predictor.streams
        window = trusted.utterances[first:last]
        offsets = inference.offsets_of_speakers(trusted, streams, predictor.speakers)
        own = {name: of_rows[first:last] for name, of_rows in offsets.items()}
        batch = inference.collate_dialogue(
            window, dialogue.speakers[first:last], predictor.modalities, streams, own
        )
        batch = inference.hide_modalities(batch, predictor.modalities, hide)
        raw = self._raw(window, number - first, hide)
        encoders = {
            predictor.streams[modality]: encoder
            for modality, encoder in predictor.encoders.items()
            if encoder.unit_names
        }
        return ExplanationArguments(self.network, batch, number - first, raw, encoders)

    def _raw(self, window: list[RecordedUtterance], row: int, hide: tuple[str, ...]) -> dict[str, Any]:
        """Encoder inputs of an utterance by modality, None for those hidden or without features."""
        utterance = window[row]
        inputs = {
            "text": text_encoder_inputs(window)[row],
            "audio": utterance.sound,
            "vision": recording_reader.vision_encoder_input(utterance, self.predictor.whole_frame_rate),
        }
        return {
            modality: encoder_input if modality in utterance.features and modality not in hide else None
            for modality, encoder_input in inputs.items()
        }


def _scored(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "value": round(float(value), DIGITS)}


def _sound(segments: list[tuple[float, float, float]], utterance: RecordedUtterance) -> dict[str, Any] | None:
    """Envelope of the sound (0 to 1) and the scores of its segments (start, end, score)."""
    if not segments or utterance.samples is None:
        return None
    peaks = [
        int(np.abs(bin_.astype(int)).max(initial=0)) for bin_ in np.array_split(utterance.samples, ENVELOPE_BINS)
    ]
    return {
        "seconds": round(utterance.seconds, 3),
        "envelope": [round(peak / max(max(peaks), 1), 2) for peak in peaks],
        "parts": [{"begin": begin, "end": end} | _scored("", value) for begin, end, value in segments],
    }


def _picture(saliency_maps: list[dict[str, Any]], utterance: RecordedUtterance) -> dict[str, Any] | None:
    """The map nearest to the utterance's middle, whose face the page shows, scaled to a maximum of 1."""
    if not saliency_maps:
        return None
    nearest = min(saliency_maps, key=lambda saliency: abs(saliency["time"] - utterance.seconds / 2))
    values = np.asarray(nearest["map"], float)
    scale = np.abs(values).max() or 1.0
    return {"method": nearest["method"], "signed": nearest["signed"], "map": (values / scale).round(2).tolist()}

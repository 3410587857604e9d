"""Explanation of the prediction for one utterance: words, sound, picture, dialogue, as plain values.

For `python -m merc explain`, the gallery, the predictor and the web page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from merc.data.records.encoder_inputs import AudioInput, TextInput, VisionInput
from merc.data.records.stream_name import StreamName
from merc.encoders.base.encoder import Encoder
from merc.encoders.text.language_model_encoder import LanguageModelEncoder
from merc.explanation import parts
from merc.explanation.counterfactual import Probe, explained_classes, log_odds, probability
from merc.explanation.methods import shapley
from merc.explanation.methods.dialogue_influence import UTTERANCE_STREAM, influence
from merc.explanation.methods.encoder_probe import EncoderProbe
from merc.explanation.methods.part_attribution import Case, integrated_gradients
from merc.explanation.methods.saliency_maps import compute_saliency
from merc.explanation.methods.word_gradients import WORD_STREAM, word_integrated_gradients

Raw = Mapping[str, TextInput | AudioInput | VisionInput | None]
Encoders = Mapping[str, Any]  # by stream: the encoders that the row has features of
Inputs = Mapping[str, Any]  # by stream: the raw input of its encoder, where there is one


def explain(network: Any, batch: dict, row: int, raw: Raw, encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Explain the prediction for row `row` of a batch of whole dialogues, in values that JSON can hold.

    raw: the row's inputs by modality, None or left out where missing; encoders: by stream, `<modality>/<name>`;
    a stream that is not among them (an imported encoder) is explained as a modality only. What is explained is the
    log-odds of the predicted emotion; every score is in its unit, positive speaks for it:

        emotion, probability, probabilities {emotion: p}, log_odds
        modalities   {name: exact Shapley value}, None where absent; they sum to log_odds - log_odds_of_nothing
        gates        {name: gate of the predicted emotion}, or None
        words        [(word, score)]: layer integrated gradients; word_spans [(start, end)] in characters; word_gap
        sound        [(start, end, score)] seconds: integrated gradients over the steps
        picture      [{"method", "signed", "time", "box" (left, top, width, height), "map" (rows of numbers)}]
        influence    [(turn, score)]: of every utterance of the dialogue, itself included
        token_spans  [(start, end)] characters of each step of the text; picture_times: seconds of each of the face
        attention    {"text>audio": rows of weights, ...} of a crossmodal fusion, else {}
    """
    probe = Probe(network, batch)
    row_index = torch.tensor([row], device=probe.dialogue.device)
    outputs = probe.outputs(row_index)
    emotion = outputs[probe.task].argmax(1)
    encoders = {
        stream: encoder
        for stream, encoder in encoders.items()
        if stream in probe.entries and probe.entries[stream][row] >= 0
    }
    raw_by_stream = {stream: raw.get(StreamName.parse(stream).modality) for stream in encoders}
    inputs = {stream: encoder_input for stream, encoder_input in raw_by_stream.items() if encoder_input is not None}
    return {
        **_prediction(network, outputs[probe.task], emotion),
        **_modalities(network, probe, row, emotion, outputs),
        **_words(probe, row_index, emotion, encoders, inputs),
        "token_spans": _units(encoders, inputs, "text", 2),
        "picture_times": [time for (time,) in _units(encoders, inputs, "vision", 1)],
        "sound": _sound(probe, row_index, emotion, encoders, inputs),
        "picture": _picture(probe, row_index, emotion, encoders, inputs),
        "influence": _influence(probe, row, int(emotion)),
        "attention": _attention(probe, row),
    }


def _prediction(network: Any, logits: torch.Tensor, emotion: torch.Tensor) -> dict[str, Any]:
    probabilities, labels = logits.cpu().double().softmax(1)[0].tolist(), explained_classes(network)
    return {
        "emotion": labels[int(emotion)],
        "probability": float(probability(logits, emotion)),
        "probabilities": dict(zip(labels, probabilities, strict=True)),
        "log_odds": float(log_odds(logits, emotion)),
    }


def _modalities(network: Any, probe: Probe, row: int, emotion: torch.Tensor, outputs: dict) -> dict[str, Any]:
    masks = torch.from_numpy(shapley.coalitions(len(network.modalities))).to(emotion.device)
    rows = torch.full((len(masks),), row, device=emotion.device)
    by_coalition = log_odds(probe.logits(rows, masks).cpu().double(), emotion.cpu().expand(len(masks)))
    present = probe.batch["present"][[row]].cpu().numpy()
    v = shapley.restrict_to_present(by_coalition.numpy()[None], present)
    is_present = present[0].tolist()
    gates = outputs["gate"][0, int(emotion)].tolist() if "gate" in outputs else None
    return {
        "log_odds_of_nothing": float(v[0, 0]),
        "modalities": _by_name(network, shapley.values(v)[0].tolist(), is_present),
        "gates": gates and _by_name(network, gates, is_present),
    }


def _by_name(network: Any, values: Sequence[float], present: Sequence[bool]) -> dict[str, float | None]:
    """Values by the name of their modality, None where it is absent."""
    return {
        name: value if is_present else None
        for name, value, is_present in zip(network.modalities, values, present, strict=True)
    }


def _words(
    probe: Probe, row_index: torch.Tensor, emotion: torch.Tensor, encoders: Encoders, inputs: Inputs
) -> dict[str, Any]:
    for stream, line in inputs.items():
        encoder = encoders[stream]
        if isinstance(encoder, LanguageModelEncoder) and line.text.strip():
            attributions = word_integrated_gradients(
                EncoderProbe(probe, stream, encoder), row_index, emotion, [line]
            )
            steps = encoder.units([line])[0]
            owner, spans = parts.CUTS["text"](steps, line.text, 0.0)
            scores = np.zeros(len(spans))
            np.add.at(scores, owner, attributions.steps[WORD_STREAM][0, : len(steps)].cpu().numpy())
            words = [(*span, score) for span, score in zip(spans, scores, strict=True) if span[2]]
            return {
                "words": [(word, float(score)) for _, _, word, score in words],
                "word_spans": [(int(start), int(end)) for start, end, _, _ in words],
                "word_gap": float(attributions.gap[0]),
            }
    return {"words": [], "word_spans": [], "word_gap": None}


def _units(encoders: Encoders, inputs: Inputs, modality: str, columns: int) -> list[tuple]:
    """The first columns of the units of a modality's steps."""
    streams = [stream for stream in inputs if stream.startswith(f"{modality}/")]
    kind = int if modality == "text" else float
    units = encoders[streams[0]].units([inputs[streams[0]]])[0] if streams else []
    return [tuple(map(kind, unit[:columns])) for unit in units]


def _sound(
    probe: Probe, row_index: torch.Tensor, emotion: torch.Tensor, encoders: Encoders, inputs: Inputs
) -> list[tuple]:
    streams = [stream for stream in inputs if stream.startswith("audio/")]
    if not streams:
        return []
    stream, row, device = streams[0], int(row_index), emotion.device
    encoder, no_steps = encoders[stream], np.zeros((0, 2), np.float32)
    steps = encoder.units([inputs[stream]])[0]
    units = {stream: [steps if other == row else no_steps for other in range(len(probe))]}
    cut = parts.take_apart(units, [""] * len(probe), {stream: encoder.step_seconds})
    blank = torch.from_numpy(np.asarray(encoder.blank, np.float32)).to(device)
    owner = {stream: torch.from_numpy(cut.owner[stream]).to(device)}
    case = Case(probe, emotion.expand(len(probe)), {stream: blank}, cut, owner)
    scores = integrated_gradients(case, row_index).steps[stream][row, : len(steps)]
    return [(float(start), float(end), float(score)) for (start, end), score in zip(steps, scores, strict=True)]


def _picture(
    probe: Probe, row_index: torch.Tensor, emotion: torch.Tensor, encoders: Encoders, inputs: Inputs
) -> list[dict]:
    pictures = []
    for stream in (stream for stream in inputs if stream.startswith("vision/")):
        encoder_probe = EncoderProbe(probe, stream, encoders[stream])
        saliency = compute_saliency(encoder_probe, row_index, emotion, inputs[stream])
        units = encoders[stream].units([inputs[stream]])[0]
        moments = units if len(saliency.maps) == len(units) else units[[len(units) // 2]]
        pictures += [
            {
                "method": saliency.method,
                "signed": saliency.signed,
                "time": float(moment[0]),
                "box": [float(edge) for edge in moment[1:5]],
                "map": saliency_map.tolist(),
            }
            for moment, saliency_map in zip(moments, saliency.maps, strict=True)
        ]
    return pictures


def _influence(probe: Probe, row: int, emotion: int) -> list[tuple[int, float]]:
    scores = influence(probe, row, emotion).steps[UTTERANCE_STREAM][0].tolist()
    return [(turn, float(score)) for turn, score in enumerate(scores)]


def _attention(probe: Probe, row: int) -> dict[str, list[list[float]]]:
    """Attention weights of each pair of modalities, cut to the row's real steps."""
    with torch.no_grad():
        outputs = probe.network.forward_encoded(probe.hidden, probe.steps, probe.deviation, probe.batch)
    weights = {pair: values[row] for pair, values in outputs["weights"].items() if ">" in pair}
    is_present = dict(zip(probe.network.modalities, probe.batch["present"][row].tolist(), strict=True))
    num_steps = {m: int(probe.steps[m][row]) if is_present[m] else 0 for m in probe.network.modalities}
    return {
        pair: values[: num_steps[a], : num_steps[b]].tolist()
        for pair, values in weights.items()
        for a, b in [pair.split(">")]
        if num_steps[a] and num_steps[b]
    }

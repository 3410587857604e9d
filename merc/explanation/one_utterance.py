"""Why the network says what it says about one utterance: words, sound, picture, dialogue, as plain values.

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
from merc.explanation.counterfactual import Probe, log_odds, probability
from merc.explanation.methods import shapley
from merc.explanation.methods.dialogue_influence import UTTERANCE_STREAM, influence
from merc.explanation.methods.encoder_probe import EncoderProbe
from merc.explanation.methods.part_attribution import Case, integrated_gradients
from merc.explanation.methods.saliency_maps import compute_saliency
from merc.explanation.methods.word_gradients import WORD_STREAM, word_integrated_gradients

Raw = Mapping[str, TextInput | AudioInput | VisionInput | None]


def explain(network: Any, batch: dict, row: int, raw: Raw, encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Everything about row `row` of a batch of whole dialogues, in values that JSON knows.

    raw: the row's own inputs by modality, None or left out where missing; encoders: by stream, `<modality>/<name>`;
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
    at = torch.tensor([row], device=probe.dialogue.device)
    answer = probe.answer(at)
    emotion = answer["emotion"].argmax(1)
    own = {one: coder for one, coder in encoders.items() if one in probe.entries and probe.entries[one][row] >= 0}
    seen = {
        one: raw[StreamName.parse(one).modality]
        for one in own
        if raw.get(StreamName.parse(one).modality) is not None
    }
    return {
        **_said(network, answer["emotion"], emotion),
        **_modalities(network, probe, row, emotion, answer),
        **_words(probe, at, emotion, own, seen),
        "token_spans": _units(own, seen, "text", 2),
        "picture_times": [time for (time,) in _units(own, seen, "vision", 1)],
        "sound": _sound(probe, at, emotion, own, seen),
        "picture": _picture(probe, at, emotion, own, seen),
        "influence": _influence(probe, row, int(emotion)),
        "attention": _attention(probe, row),
    }


def _said(network: Any, logits: torch.Tensor, emotion: torch.Tensor) -> dict[str, Any]:
    shares, order = logits.cpu().double().softmax(1)[0].tolist(), network.labels["emotion"]
    return {
        "emotion": order[int(emotion)],
        "probability": float(probability(logits, emotion)),
        "probabilities": dict(zip(order, shares, strict=True)),
        "log_odds": float(log_odds(logits, emotion)),
    }


def _modalities(network: Any, probe: Probe, row: int, emotion: torch.Tensor, answer: dict) -> dict[str, Any]:
    masks = torch.from_numpy(shapley.coalitions(len(network.modalities))).to(emotion.device)
    rows = torch.full((len(masks),), row, device=emotion.device)
    worth = log_odds(probe.logits(rows, masks).cpu().double(), emotion.cpu().expand(len(masks)))
    present = probe.batch["present"][[row]].cpu().numpy()
    worth = shapley.restrict_to_present(worth.numpy()[None], present)
    here = present[0].tolist()
    gates = answer["gate"][0, int(emotion)].tolist() if "gate" in answer else None
    return {
        "log_odds_of_nothing": float(worth[0, 0]),
        "modalities": _named(network, shapley.values(worth)[0].tolist(), here),
        "gates": gates and _named(network, gates, here),
    }


def _named(network: Any, values: Sequence[float], here: Sequence[bool]) -> dict[str, float | None]:
    return {
        name: value if there else None for name, value, there in zip(network.modalities, values, here, strict=True)
    }


def _words(probe: Probe, at: torch.Tensor, emotion: torch.Tensor, own: Mapping, seen: Mapping) -> dict[str, Any]:
    for stream, line in seen.items():
        if isinstance(own[stream], LanguageModelEncoder) and line.text.strip():
            found = word_integrated_gradients(EncoderProbe(probe, stream, own[stream]), at, emotion, [line])
            steps = own[stream].units([line])[0]
            owner, spans = parts.CUTS["text"](steps, line.text, 0.0)
            scores = np.zeros(len(spans))
            np.add.at(scores, owner, found.steps[WORD_STREAM][0, : len(steps)].cpu().numpy())
            said = [(*span, score) for span, score in zip(spans, scores, strict=True) if span[2]]
            return {
                "words": [(word, float(score)) for _, _, word, score in said],
                "word_spans": [(int(start), int(end)) for start, end, _, _ in said],
                "word_gap": float(found.gap[0]),
            }
    return {"words": [], "word_spans": [], "word_gap": None}


def _units(own: Mapping, seen: Mapping, modality: str, columns: int) -> list[tuple]:
    """What the steps of a modality are: the first columns of its encoder's units."""
    streams = [stream for stream in seen if stream.startswith(f"{modality}/")]
    kind = int if modality == "text" else float
    units = own[streams[0]].units([seen[streams[0]]])[0] if streams else []
    return [tuple(map(kind, unit[:columns])) for unit in units]


def _sound(probe: Probe, at: torch.Tensor, emotion: torch.Tensor, own: Mapping, seen: Mapping) -> list[tuple]:
    streams = [stream for stream in seen if stream.startswith("audio/")]
    if not streams:
        return []
    stream, row = streams[0], int(at)
    nothing = np.zeros((0, 2), np.float32)
    steps = own[stream].units([seen[stream]])[0]
    units = {stream: [steps if one == row else nothing for one in range(len(probe))]}
    cut = parts.take_apart(units, [""] * len(probe), {stream: own[stream].step_seconds})
    where = emotion.device
    blank = torch.from_numpy(np.asarray(own[stream].blank, np.float32)).to(where)
    owner = {stream: torch.from_numpy(cut.owner[stream]).to(where)}
    case = Case(probe, emotion.expand(len(probe)), {stream: blank}, cut, owner)
    scores = integrated_gradients(case, at).steps[stream][row, : len(steps)]
    return [(float(start), float(end), float(score)) for (start, end), score in zip(steps, scores, strict=True)]


def _picture(probe: Probe, at: torch.Tensor, emotion: torch.Tensor, own: Mapping, seen: Mapping) -> list[dict]:
    found = []
    for stream in (one for one in seen if one.startswith("vision/")):
        sight = compute_saliency(EncoderProbe(probe, stream, own[stream]), at, emotion, seen[stream])
        units = own[stream].units([seen[stream]])[0]
        moments = units if len(sight.maps) == len(units) else units[[len(units) // 2]]
        found += [
            {
                "method": sight.method,
                "signed": sight.signed,
                "time": float(moment[0]),
                "box": [float(one) for one in moment[1:5]],
                "map": picture.tolist(),
            }
            for moment, picture in zip(moments, sight.maps, strict=True)
        ]
    return found


def _influence(probe: Probe, row: int, emotion: int) -> list[tuple[int, float]]:
    scores = influence(probe, row, emotion).steps[UTTERANCE_STREAM][0].tolist()
    return [(turn, float(score)) for turn, score in enumerate(scores)]


def _attention(probe: Probe, row: int) -> dict[str, list[list[float]]]:
    """Each pair's weights, cut to the row's real steps."""
    with torch.no_grad():
        told = probe.network.judge(probe.hidden, probe.steps, probe.odd, probe.batch)
    pairs = {name: one[row] for name, one in told["weights"].items() if ">" in name}
    here = dict(zip(probe.network.modalities, probe.batch["present"][row].tolist(), strict=True))
    size = {m: int(probe.steps[m][row]) if here[m] else 0 for m in probe.network.modalities}
    return {
        name: one[: size[a], : size[b]].tolist()
        for name, one in pairs.items()
        for a, b in [name.split(">")]
        if size[a] and size[b]
    }

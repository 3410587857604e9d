"""Why an utterance was answered as it was, in what the page draws: bars, words, a coloured sound and face."""

from typing import Any, NamedTuple

import numpy as np

from merc import explain_one
from merc.encoders.encoder import Encoder
from merc.serve import answering, reading
from merc.serve.dialogue import Dialogue, Utterance, lines
from merc.serve.predictor import Predictor
from models import checkpoint

BINS = 120  # of the drawn sound
DIGITS = 4


class Asked(NamedTuple):
    """One utterance in the window of its dialogue that is seen with it."""

    network: Any
    batch: dict[str, Any]
    row: int  # of the window
    raw: dict[str, Any]
    encoders: dict[str, Encoder]


class Reasons:
    """merc/explain_one.py for utterances that a predictor read."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.network = predictor, checkpoint.load(predictor.folder).eval()

    def of(self, dialogue: Dialogue, number: int, hide: tuple[str, ...]) -> dict[str, Any]:
        """In log-odds of the emotion that is answered, `label`; positive speaks for it."""
        asked = self.asked(dialogue, number, hide)
        told = explain_one.explain(*asked)
        return {
            "label": told["emotion"],
            "modalities": [_scored(name, value) for name, value in told["modalities"].items() if value is not None],
            "words": [_scored(word, value) for word, value in told["words"]],
            "sound": _sound(told["sound"], dialogue.utterances[number]),
            "picture": _picture(told["picture"], dialogue.utterances[number]),
            "influence": [
                {"place": turn + number - asked.row} | _scored("", value) for turn, value in told["influence"]
            ],
        }

    def asked(self, dialogue: Dialogue, number: int, hide: tuple[str, ...] = ()) -> "Asked":
        """What merc/explain_one.py and merc/tokenshap.py are given of an utterance."""
        first, last = next(
            (first, last) for first, last, begin, end in answering.windows(dialogue.starts) if begin <= number < end
        )
        asked, seen = self.predictor, dialogue.utterances[first:last]
        batch = answering.gather(seen, dialogue.speakers[first:last], asked.modalities, asked.streams)
        raw = {name: None if name in hide else one for name, one in self._raw(seen, number - first).items()}
        encoders = {asked.streams[name]: one for name, one in asked.encoders.items() if one.unit_names}
        batch = answering.hidden(batch, asked.modalities, hide)
        return Asked(self.network, batch, number - first, raw, encoders)

    def _raw(self, seen: list[Utterance], row: int) -> dict[str, Any]:
        one = seen[row]
        given = {"text": lines(seen)[row], "audio": one.sound, "vision": reading.faces_of(one, self.predictor.film)}
        return {name: each if name in one.features else None for name, each in given.items()}


def _scored(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "value": round(float(value), DIGITS)}


def _sound(parts: list[tuple[float, float, float]], one: Utterance) -> dict[str, Any] | None:
    if not parts or one.samples is None:
        return None
    loud = [int(np.abs(part.astype(int)).max(initial=0)) for part in np.array_split(one.samples, BINS)]
    return {
        "seconds": round(one.seconds, 3),
        "envelope": [round(each / max(max(loud), 1), 2) for each in loud],
        "parts": [{"begin": begin, "end": end} | _scored("", value) for begin, end, value in parts],
    }


def _picture(sights: list[dict[str, Any]], one: Utterance) -> dict[str, Any] | None:
    """Of the moment that the page shows, the middle."""
    if not sights:
        return None
    sight = min(sights, key=lambda sight: abs(sight["time"] - one.seconds / 2))
    seen = np.asarray(sight["map"], float)
    scale = np.abs(seen).max() or 1.0
    return {"method": sight["method"], "signed": sight["signed"], "map": (seen / scale).round(2).tolist()}

"""Answers while someone speaks: each utterance as soon as its end is heard, from what was said up to there.

    stream = Predictor.load().stream()
    stream.see(picture, seconds)       # RGB (height, width, 3); any number, or none
    rows = stream.hear(samples)        # 16 kHz mono; the rows of the utterances that ended
    rows += stream.finish()

A row is what `Predictor.answer` says of the last utterance of the dialogue up to there. The last WINDOW utterances
are remembered, as features; of sound and pictures only what the utterance that is going on needs, LONGEST frames
(merc/utterances.py, 20 s) at most.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from merc import shots
from merc.problem import Problem
from merc.serve.answering import WINDOW
from merc.serve.dialogue import Dialogue, Row, Utterance
from merc.sound import SAMPLE_RATE, Sound
from merc.utterances import Cutter, Span

if TYPE_CHECKING:
    from merc.serve.predictor import Predictor

MOST_SECONDS = 25.0  # of pictures that are kept at all: more than the longest utterance with its pause
BEFORE = 1.0  # seconds of pictures that are kept before what may be needed: sound and pictures come unevenly


class Stream:
    """One conversation that is going on; not for several threads."""

    def __init__(self, predictor: "Predictor", asr: Callable[[np.ndarray], str] | None, spacing: float) -> None:
        self.predictor, self.asr, self.spacing = predictor, asr, spacing
        self.cutter = Cutter()
        self.sound, self.begin = np.zeros(0, np.int16), 0  # samples, and the place of the first of them
        self.shots: deque[shots.Shot] = deque()
        self.utterances: list[Utterance] = []
        self.count = 0

    def see(self, picture: np.ndarray | shots.Shot, seconds: float | None = None) -> None:
        """A picture and when it was taken, in seconds of the sound; before the sound of that moment if possible."""
        self.shots.append(picture if isinstance(picture, shots.Shot) else shots.shot(picture, seconds))
        while self.shots[-1].end - self.shots[0].end > MOST_SECONDS:
            self.shots.popleft()

    def hear(self, samples: np.ndarray) -> list[Row]:
        """The next samples, 16 kHz mono: 16-bit, or float from -1 to 1."""
        samples = _sixteen_bit(samples)
        self.sound = np.concatenate([self.sound, samples])
        rows = [row for span in self.cutter.feed(samples) for row in self._tell(span)]
        self._let_go()
        return rows

    def finish(self) -> list[Row]:
        """The utterance that the end of the sound ends, if any."""
        return [row for span in self.cutter.finish() for row in self._tell(span)]

    def _tell(self, span: Span) -> Iterator[Row]:
        began = time.perf_counter()
        waited = (span.known - span.end) / SAMPLE_RATE  # for the pause that makes it an end
        for one in self._utterances(span):
            self.count += 1
            one.name = f"stream#{self.count}"
            row = self._answer(one)
            passed = (span.end / SAMPLE_RATE - one.end) + waited + time.perf_counter() - began
            yield row | {"latency": round(passed, 4)}

    def _answer(self, one: Utterance) -> Row:
        self.predictor.write_down(one, self.asr)
        self.utterances.append(one)
        del self.utterances[:-WINDOW]
        first = max(len(self.utterances) - 1 - self._later, 0)
        self.predictor.encode(self.utterances, begin=first)
        row = self.predictor.answer(Dialogue(self.utterances))[-1]
        _forget_media(one)
        return row

    def _utterances(self, span: Span) -> list[Utterance]:
        begin, end = span.seconds
        reader = self.predictor.reader
        sound = Sound(self.sound[span.begin - self.begin : span.end - self.begin])
        shown = shots.pictures(self.shots, begin, end, self.spacing)
        return reader.turns(Utterance("", None, begin, end), reader.part(sound, 0.0, end - begin), shown)

    @property
    def _later(self) -> int:
        """How many utterances back a text encoder reads the words of a new one."""
        return self.predictor.needs.get("text", {}).get("settings", {}).get("after", 0)

    def _let_go(self) -> None:
        needed = self.cutter.begin
        self.sound = self.sound[max(needed - self.begin, 0) :].copy()
        self.begin = max(needed, self.begin)
        while self.shots and self.shots[0].end < needed / SAMPLE_RATE - BEFORE:
            self.shots.popleft()


def _sixteen_bit(samples: Any) -> np.ndarray:
    samples = np.asarray(samples)
    if (
        samples.ndim != 1
        or samples.dtype.kind not in "if"
        or (samples.dtype.kind == "i" and samples.dtype != np.int16)
    ):
        raise Problem(f"samples of {samples.dtype} {samples.shape}: give 16 kHz mono, int16 or float (samples,)")
    if samples.dtype.kind == "f":
        return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return samples


def _forget_media(one: Utterance) -> None:
    """Its features stay."""
    one.samples, one.frame, one.tracks = None, b"", b""

"""Where utterances begin and end in a sound that may not have ended: the same for a file and a microphone."""

from dataclasses import dataclass

import numpy as np

from merc.sound import SAMPLE_RATE
from merc.speech import AROUND, FRAME, STRICTNESS

PAUSE = 17  # frames (0.5 s) without speech end an utterance
SHORTEST = 7  # frames (0.2 s) of speech, else it was a click
LONGEST = 495  # frames (with AROUND 15 s, which is what extract keeps); who speaks on begins a new utterance
# seconds from the end of an utterance, silence around it included, to when it is known
DECIDES_SECONDS = (PAUSE - AROUND) * FRAME / SAMPLE_RATE


@dataclass(frozen=True)
class Span:
    """An utterance: begin and end in samples; it could be told `known` samples after the sound's beginning."""

    begin: int
    end: int
    known: int

    @property
    def seconds(self) -> tuple[float, float]:
        return self.begin / SAMPLE_RATE, self.end / SAMPLE_RATE


class Cutter:
    """WebRTC's detector, frame by frame; its answer depends on the samples so far, not on how they came.

    A sound that stops where an utterance ends is cut just as the longer one is up to there.
    """

    def __init__(self) -> None:
        from webrtcvad import Vad

        self.detector = Vad(STRICTNESS)
        self.left = np.zeros(0, np.int16)  # less than a frame
        self.frames = 0  # seen
        self.free = 0  # the first frame that is in no utterance
        self.first: int | None = None  # frame of the speech that is going on
        self.last = self.heard = 0

    def feed(self, samples: np.ndarray) -> list[Span]:
        """The utterances whose end is known now."""
        samples = np.concatenate([self.left, samples.astype(np.int16, copy=False)])
        count = len(samples) // FRAME
        self.left = samples[count * FRAME :]
        found = (self._frame(frame) for frame in samples[: count * FRAME].reshape(count, FRAME))
        return [span for span in found if span]

    def finish(self) -> list[Span]:
        """The utterance that the end of the sound ends, if any."""
        span = self._end() if self.first is not None else None
        return [span] if span else []

    @property
    def begin(self) -> int:
        """The first sample that an utterance to come may need."""
        first = self.frames if self.first is None else self.first
        return max(first - AROUND, self.free) * FRAME

    def _frame(self, frame: np.ndarray) -> Span | None:
        speech = self.detector.is_speech(frame.tobytes(), SAMPLE_RATE)
        self.frames += 1
        if speech:
            if self.first is None:
                self.first, self.heard = self.frames - 1, 0
            self.last, self.heard = self.frames - 1, self.heard + 1
        if self.first is None:
            return None
        over = self.frames - 1 - self.last >= PAUSE or self.frames - self.first >= LONGEST
        return self._end() if over else None

    def _end(self) -> Span | None:
        begin = max(self.first - AROUND, self.free)
        end = min(self.last + 1 + AROUND, self.frames)
        enough, self.first = self.heard >= SHORTEST, None
        if not enough:
            return None
        self.free = end
        return Span(begin * FRAME, end * FRAME, self.frames * FRAME)


def spans(samples: np.ndarray) -> list[Span]:
    """The utterances of a whole sound."""
    cutter = Cutter()
    return [*cutter.feed(samples), *cutter.finish()]

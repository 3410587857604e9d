"""Streaming prediction: a row for each utterance as soon as its end is detected, from the dialogue so far.

    stream = Stream(Predictor.load())
    stream.see(picture, seconds)       # RGB (height, width, 3); any number, or none
    rows = stream.hear(samples)        # 16 kHz mono; rows of the utterances that ended
    rows += stream.finish()

A row equals that of `Predictor.answer` for the last utterance of the dialogue so far. The features of the last
96 utterances (the network's window) are kept; sound and pictures only as far as the current utterance needs them,
at most 25 s.
"""

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from av.video.reformatter import VideoReformatter

from merc.data.records.encoder_inputs import FULL_SCALE, SAMPLE_RATE
from merc.encoders.pretrained import transcription
from merc.encoders.pretrained.transcription import SpeechRecogniser
from merc.media.sound import ClipSound
from merc.runtime.errors import UserError
from merc.serve.predictor.dialogue import Dialogue, PredictionRow, RecordedUtterance
from merc.serve.predictor.inference import WINDOW_SIZE
from merc.serve.predictor.segmentation import Span, UtteranceSegmenter
from merc.serve.stream import timed_pictures
from merc.serve.stream.live_sources import DEFAULT_SPACING

if TYPE_CHECKING:
    from merc.serve.predictor.predictor import Predictor

MAX_PICTURE_SECONDS = 25.0  # of pictures kept: more than the longest utterance with its pause
# seconds of pictures kept before the sound that may be needed, since both arrive unevenly
PICTURE_MARGIN_SECONDS = 1.0


class Stream:
    """A conversation in progress; not thread-safe."""

    def __init__(
        self,
        predictor: "Predictor",
        *,
        asr: SpeechRecogniser | None = None,
        spacing: float = DEFAULT_SPACING,  # seconds between pictures
    ) -> None:
        self.predictor, self.asr, self.spacing = predictor, asr and transcription.for_recording(asr), spacing
        self.cutter = UtteranceSegmenter()
        self.sound, self.begin = np.zeros(0, np.int16), 0  # samples kept, and the index of the first of them
        self.shots: deque[timed_pictures.TimedPicture] = deque()
        self.reformatter = VideoReformatter()
        self.utterances: list[RecordedUtterance] = []
        self.count = 0

    @overload
    def see(self, picture: timed_pictures.TimedPicture) -> None: ...

    @overload
    def see(self, picture: np.ndarray, seconds: float) -> None: ...

    def see(self, picture: np.ndarray | timed_pictures.TimedPicture, seconds: float | None = None) -> None:
        """Add a picture taken at `seconds` of the sound, if possible before the sound of that time."""
        if not isinstance(picture, timed_pictures.TimedPicture):
            if seconds is None:
                raise UserError("see(picture): pass `seconds` too, the time of the sound at which it was taken")
            picture = timed_pictures.timed_picture(picture, seconds)
        self.shots.append(timed_pictures.reduce(picture, self.reformatter))
        while self.shots[-1].end - self.shots[0].end > MAX_PICTURE_SECONDS:
            self.shots.popleft()

    def hear(self, samples: np.ndarray) -> list[PredictionRow]:
        """Add the next samples, 16 kHz mono: int16, or float from -1 to 1; return rows of utterances that ended."""
        samples = _to_int16(samples)
        self.sound = np.concatenate([self.sound, samples])
        rows = [row for span in self.cutter.feed(samples) for row in self._predict_span(span)]
        self._drop_unneeded()
        return rows

    def finish(self) -> list[PredictionRow]:
        """Rows of the utterance that is cut off by the end of the sound, if any."""
        return [row for span in self.cutter.finish() for row in self._predict_span(span)]

    def _predict_span(self, span: Span) -> Iterator[PredictionRow]:
        start = time.perf_counter()
        detection_delay = (span.detected_at - span.end) / SAMPLE_RATE  # the pause that ends an utterance
        for utterance in self._utterances(span):
            self.count += 1
            utterance.name = f"stream#{self.count}"
            row = self._predict(utterance)
            latency = (span.end / SAMPLE_RATE - utterance.end) + detection_delay + time.perf_counter() - start
            yield row | {"latency": round(latency, 4)}

    def _predict(self, utterance: RecordedUtterance) -> PredictionRow:
        self.predictor.write_down(utterance, self.asr)
        self.utterances.append(utterance)
        del self.utterances[:-WINDOW_SIZE]
        first = max(len(self.utterances) - 1 - self._num_following, 0)
        self.predictor.encode(self.utterances, begin=first)
        row = self.predictor.answer(Dialogue(self.utterances))[-1]
        _delete_media(utterance)
        return row

    def _utterances(self, span: Span) -> list[RecordedUtterance]:
        begin, end = span.seconds
        reader = self.predictor.reader
        sound = ClipSound(self.sound[span.begin - self.begin : span.end - self.begin])
        pictures = timed_pictures.utterance_pictures(self.shots, begin, end, self.spacing)
        return reader.turns(RecordedUtterance("", None, begin, end), reader.part(sound, 0.0, end - begin), pictures)

    @property
    def _num_following(self) -> int:
        """Following utterances in a text encoder's context: a new utterance changes the features of as many."""
        return self.predictor.needs.get("text", {}).get("settings", {}).get("after", 0)

    def _drop_unneeded(self) -> None:
        """Drop the sound and pictures that no future utterance needs."""
        needed = self.cutter.begin
        self.sound = self.sound[max(needed - self.begin, 0) :].copy()
        self.begin = max(needed, self.begin)
        while self.shots and self.shots[0].end < needed / SAMPLE_RATE - PICTURE_MARGIN_SECONDS:
            self.shots.popleft()


def _to_int16(samples: Any) -> np.ndarray:
    samples = np.asarray(samples)
    if (
        samples.ndim != 1
        or samples.dtype.kind not in "if"
        or (samples.dtype.kind == "i" and samples.dtype != np.int16)
    ):
        raise UserError(f"samples of {samples.dtype} {samples.shape}: give 16 kHz mono, int16 or float (samples,)")
    if samples.dtype.kind == "f":
        return np.clip(np.rint(samples * float(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return samples


def _delete_media(utterance: RecordedUtterance) -> None:
    """Free the sound and pictures; the features stay."""
    utterance.samples, utterance.frame, utterance.tracks = None, b"", b""

"""Cuts a sound, complete or still being recorded, into utterances at pauses found by voice activity detection."""

from dataclasses import dataclass

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.media.voice_activity import FRAME_SAMPLES, MIN_SPEECH_FRAMES, SPEECH_MARGIN, WEBRTC_MODE

PAUSE_FRAMES = 17  # frames (0.5 s) without speech end an utterance
# frames (with SPEECH_MARGIN 15 s, the maximum that extract keeps); longer speech starts a new utterance
MAX_UTTERANCE_FRAMES = 495
BLOCK_SAMPLES = 60 * SAMPLE_RATE  # that are copied at once of a complete sound, which may be hours long
# seconds from the end of an utterance, the silence kept around it included, until the end is detected
DETECTION_SECONDS = (PAUSE_FRAMES - SPEECH_MARGIN) * FRAME_SAMPLES / SAMPLE_RATE


@dataclass(frozen=True)
class Span:
    """Start and end of an utterance in samples; `detected_at` is the number of samples needed to detect its end."""

    begin: int
    end: int
    detected_at: int

    @property
    def seconds(self) -> tuple[float, float]:
        return self.begin / SAMPLE_RATE, self.end / SAMPLE_RATE


class UtteranceSegmenter:
    """Segments a stream with WebRTC's detector, frame by frame; the result does not depend on the chunk sizes.

    A sound that stops at the end of an utterance is cut as the longer sound is up to there.
    """

    def __init__(self) -> None:
        from webrtcvad import Vad

        self.detector = Vad(WEBRTC_MODE)
        self.remainder = np.zeros(0, np.int16)  # samples of an incomplete frame
        self.num_frames = 0  # processed so far
        self.free = 0  # first frame after the last utterance
        self.first: int | None = None  # first frame of the current speech
        self.last = self.num_speech_frames = 0  # last frame of the current speech, and how many are speech

    def feed(self, samples: np.ndarray) -> list[Span]:
        """Process the next samples; return the utterances whose end they reveal."""
        samples = np.concatenate([self.remainder, samples.astype(np.int16, copy=False)])
        count = len(samples) // FRAME_SAMPLES
        self.remainder = samples[count * FRAME_SAMPLES :]
        spans_or_none = (
            self._process(frame) for frame in samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)
        )
        return [span for span in spans_or_none if span]

    def finish(self) -> list[Span]:
        """The utterance that is cut off by the end of the sound, if any."""
        span = self._end_utterance(self.first) if self.first is not None else None
        return [span] if span else []

    @property
    def begin(self) -> int:
        """The first sample that a future utterance may need."""
        first = self.num_frames if self.first is None else self.first
        return max(first - SPEECH_MARGIN, self.free) * FRAME_SAMPLES

    def _process(self, frame: np.ndarray) -> Span | None:
        is_speech = self.detector.is_speech(frame.tobytes(), SAMPLE_RATE)
        self.num_frames += 1
        if is_speech:
            if self.first is None:
                self.first, self.num_speech_frames = self.num_frames - 1, 0
            self.last, self.num_speech_frames = self.num_frames - 1, self.num_speech_frames + 1
        if self.first is None:
            return None
        is_over = (
            self.num_frames - 1 - self.last >= PAUSE_FRAMES or self.num_frames - self.first >= MAX_UTTERANCE_FRAMES
        )
        return self._end_utterance(self.first) if is_over else None

    def _end_utterance(self, first: int) -> Span | None:
        begin = max(first - SPEECH_MARGIN, self.free)
        end = min(self.last + 1 + SPEECH_MARGIN, self.num_frames)
        self.first = None
        if self.num_speech_frames < MIN_SPEECH_FRAMES:
            return None
        self.free = end
        return Span(begin * FRAME_SAMPLES, end * FRAME_SAMPLES, self.num_frames * FRAME_SAMPLES)


def segment(samples: np.ndarray) -> list[Span]:
    """Utterances of a complete sound."""
    cutter = UtteranceSegmenter()
    blocks = (samples[begin : begin + BLOCK_SAMPLES] for begin in range(0, len(samples), BLOCK_SAMPLES))
    return [*(span for block in blocks for span in cutter.feed(block)), *cutter.finish()]

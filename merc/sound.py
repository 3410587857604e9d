"""The sound of a clip: decoded, mixed to mono, resampled, cut to the clip's length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from merc.decoding import Stream

SAMPLE_RATE = 16000
DAMAGED = "damaged"
TRUNCATED = "truncated"
PADDED = "padded"


@dataclass
class Sound:
    """16 kHz mono PCM16, or the reason why there is none."""

    samples: np.ndarray | None = None  # int16
    start: float = 0.0  # seconds of the clip at which they begin; more than 0 after trimming alone
    flags: list[str] = field(default_factory=list)
    reason: str = ""


class SoundReader:
    """Takes the packets of an audio stream; cuts the codec's padding at the container's duration."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.clock = stream, stream.clock
        self.chunks: list[np.ndarray] = []
        self.begin: float | None = None  # seconds
        self.length = 0  # samples

    @property
    def full(self) -> bool:
        return (self.begin or 0.0) + self.length / SAMPLE_RATE > self.clock.last

    def take(self, packet: Any) -> None:
        for frame in [] if self.full else self.stream.decode(packet):
            if self.begin is None:
                self.begin = self.clock.seconds(frame.pts, frame) or 0.0
            self._keep(self.stream.gather(frame))

    def finish(self, broken: str) -> Sound:
        """The whole sound; `broken` says what stopped the reading, if anything."""
        if self.begin is not None:
            self._keep(self.stream.gather(None))
        trouble = self.stream.trouble or broken
        if not self.length:
            return Sound(reason=f"no audio can be decoded{trouble and ': ' + trouble}")
        sound = Sound(self._shifted(np.concatenate(self.chunks)))
        if trouble:
            sound.flags, sound.reason = [DAMAGED], f"decoding went wrong: {trouble}"
        return self._fitted(sound)

    def _keep(self, chunks: list[np.ndarray]) -> None:
        self.chunks += chunks
        self.length += sum(map(len, chunks))

    def _shifted(self, samples: np.ndarray) -> np.ndarray:
        """Sample 0 at the clip's beginning, whenever the stream began."""
        late = min(round((self.begin or 0.0) * SAMPLE_RATE), round(self.clock.limits.maximum * SAMPLE_RATE))
        samples = np.pad(samples, (max(late, 0), 0))[max(-late, 0) :]
        return samples if self.clock.duration is None else samples[: round(self.clock.duration * SAMPLE_RATE)]

    def _fitted(self, sound: Sound) -> Sound:
        limits = self.clock.limits
        seconds = len(sound.samples) / SAMPLE_RATE
        if seconds > limits.maximum:
            sound.samples = sound.samples[: round(limits.maximum * SAMPLE_RATE)]
            note(sound, TRUNCATED, f"cut to {limits.maximum:g} s of {self.clock.duration or seconds:.1f}")
        if seconds < limits.minimum:
            missing = round(limits.minimum * SAMPLE_RATE) - len(sound.samples)
            sound.samples = np.pad(sound.samples, (0, missing))
            note(sound, PADDED, f"{seconds:.3f} s, padded with silence to {limits.minimum:g}")
        return sound


def note(thing: Any, flag: str, reason: str) -> None:
    """Flag a sound, or pictures, with the reason in words."""
    thing.flags.append(flag)
    thing.reason = f"{thing.reason}; {reason}" if thing.reason else reason

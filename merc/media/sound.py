"""The sound of a clip: decoded, mixed to mono, resampled, truncated to the clip's duration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE

if TYPE_CHECKING:
    import av

    from merc.media.decoding import MediaStream

DAMAGED = "damaged"
TRUNCATED = "truncated"
PADDED = "padded"


@dataclass
class ClipSound:
    """16 kHz mono PCM16, or the reason why there is none."""

    samples: np.ndarray | None = None  # int16
    start: float = 0.0  # seconds of the clip at which the samples begin; above 0 only after trimming
    flags: list[str] = field(default_factory=list)
    reason: str = ""


class SoundReader:
    """Decodes the packets of an audio stream; cuts off the codec's padding after the container's duration."""

    def __init__(self, stream: MediaStream[av.AudioFrame]) -> None:
        self.stream, self.clock = stream, stream.clock
        self.content = bytearray()  # int16 samples; grows in place, so that hours of sound are held once
        self.begin: float | None = None  # seconds of the clip

    @property
    def length(self) -> int:
        """Samples decoded so far."""
        return len(self.content) // np.dtype(np.int16).itemsize

    @property
    def full(self) -> bool:
        """Whether no more packets are needed."""
        return (self.begin or 0.0) + self.length / SAMPLE_RATE > self.clock.end

    def take(self, packet: Any) -> None:
        """Decode a packet."""
        for frame in [] if self.full else self.stream.decode(packet):
            if self.begin is None:
                self.begin = self.clock.seconds(frame.pts, frame) or 0.0
            self._keep(self.stream.gather(frame))

    def finish(self, error: str) -> ClipSound:
        """The complete sound; `error` is the message of what stopped the reading, if anything."""
        if self.begin is not None:
            self._keep(self.stream.gather(None))
        error = self.stream.trouble or error
        if not self.length:
            return ClipSound(reason=f"no audio can be decoded{error and ': ' + error}")
        samples = self._align(np.frombuffer(self.content, np.int16))
        sound = ClipSound(samples)
        if error:
            sound.flags, sound.reason = [DAMAGED], f"decoding went wrong: {error}"
        return self._limit(sound, samples)

    def _keep(self, chunks: list[np.ndarray]) -> None:
        for chunk in chunks:
            self.content += chunk.tobytes()

    def _align(self, samples: np.ndarray) -> np.ndarray:
        """Pad or cut the beginning so that sample 0 is at the start of the clip; cut the end at its duration."""
        delay = min(round((self.begin or 0.0) * SAMPLE_RATE), round(self.clock.limits.maximum * SAMPLE_RATE))
        samples = np.pad(samples, (delay, 0)) if delay > 0 else samples[-delay:]
        return samples if self.clock.duration is None else samples[: round(self.clock.duration * SAMPLE_RATE)]

    def _limit(self, sound: ClipSound, samples: np.ndarray) -> ClipSound:
        """Truncate or pad the sound's samples to the limits."""
        limits = self.clock.limits
        seconds = len(samples) / SAMPLE_RATE
        if seconds > limits.maximum:
            sound.samples = samples = samples[: round(limits.maximum * SAMPLE_RATE)]
            add_flag(sound, TRUNCATED, f"cut to {limits.maximum:g} s of {self.clock.duration or seconds:.1f}")
        if seconds < limits.minimum:
            missing = round(limits.minimum * SAMPLE_RATE) - len(samples)
            sound.samples = np.pad(samples, (0, missing))
            add_flag(sound, PADDED, f"{seconds:.3f} s, padded with silence to {limits.minimum:g}")
        return sound


def add_flag(medium: Any, flag: str, reason: str) -> None:
    """Add a flag and its reason to a ClipSound or to Pictures."""
    medium.flags.append(flag)
    medium.reason = f"{medium.reason}; {reason}" if medium.reason else reason

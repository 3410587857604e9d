"""What was read of a conversation: utterances with their words, sound, face, features, and what is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from merc import tracks as face_tracks
from merc.encoders import raw
from merc.tracks import Track

FULL_SCALE = 32768  # of 16-bit samples


class Encoded(NamedTuple):
    """One utterance through one encoder."""

    values: np.ndarray  # (steps, dim) float32, rounded as packs are
    units: np.ndarray  # (steps, columns) float32: what a step is, as the encoder's unit_names say


@dataclass
class Utterance:
    """One utterance; media are kept as `extract` would write them, so that many fit in memory."""

    name: str
    source: Path | None
    start: float  # seconds in the source
    end: float
    dialogue: str = ""  # utterances of one dialogue follow one another
    speaker: str = ""
    text: str = ""
    samples: np.ndarray | None = None  # int16, 16 kHz mono
    frame: bytes = b""  # JPEG: the picture that represents it
    tracks: bytes = b""  # every face, as tracks.pack writes them
    speaks: int | None = None  # number of the track of the speaker's face
    series: list[bytes] = field(default_factory=list)  # JPEGs at extract.video.fps
    heard_from: float = 0.0  # seconds of the utterance at which a trimmed sound begins
    frames: int = 0  # sample so many frames of the face, evenly; 0 = all
    missing: dict[str, str] = field(default_factory=dict)  # modality -> why it is not there
    notes: list[str] = field(default_factory=list)  # what was done to it, in words
    features: dict[str, Encoded] = field(default_factory=dict)  # by modality, of those that are there

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def face(self) -> Track | None:
        """The speaker's face through the utterance."""
        return None if self.speaks is None else face_tracks.unpack_one(self.tracks, self.speaks)

    @property
    def sound(self) -> raw.Sound | None:
        """What an audio encoder is given."""
        return (
            None
            if self.samples is None
            else raw.Sound(self.samples.astype(np.float32) / FULL_SCALE, start=self.heard_from)
        )

    @property
    def wav(self) -> bytes:
        """The content of a .wav file; empty without sound."""
        from merc import media

        return b"" if self.samples is None else media.wav(self.samples)

    @property
    def picture(self) -> np.ndarray | None:
        """The picture that represents it, RGB."""
        return face_tracks.decode(np.frombuffer(self.frame, np.uint8)) if self.frame else None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The speaker's face in the picture's middle moment: left, top, width, height in the picture's pixels."""
        if (face := self.face) is None:
            return None
        nearest = np.abs(face.frames / face_tracks.RATE - self.seconds / 2).argmin()
        return tuple(face.boxes[nearest].tolist())

    def line(self) -> raw.Line | None:
        """What a text encoder is given, without its neighbours."""
        return None if "text" in self.missing else raw.Line(self.text, self.speaker)

    def thumbnail(self, side: int) -> bytes:
        """The picture as JPEG, its longer side so long at most; empty without a picture."""
        if (picture := self.picture) is None:
            return b""
        shrink = min(1.0, side / max(picture.shape[:2]))
        return face_tracks.encode(cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA))


@dataclass
class Dialogue:
    """Utterances of one or more dialogues, in order."""

    utterances: list[Utterance]

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def prefix(self, count: int) -> "Dialogue":
        """The first so many utterances, as they were encoded."""
        return Dialogue(self.utterances[:count])

    @property
    def speakers(self) -> list[int]:
        """The role of each utterance's speaker: 0 for who speaks first in a dialogue, 1 for the next new voice."""
        known: dict[tuple[str, str], int] = {}
        count: dict[str, int] = {}
        for one in self:
            key = (one.dialogue, one.speaker)
            if key not in known:
                known[key] = count.get(one.dialogue, 0)
                count[one.dialogue] = known[key] + 1
        return [known[one.dialogue, one.speaker] for one in self]

    @property
    def starts(self) -> list[int]:
        """Where each dialogue begins, and how many utterances there are."""
        names = [one.dialogue for one in self]
        first = (index for index in range(len(names)) if not index or names[index] != names[index - 1])
        return [*first, len(names)]


def lines(utterances: Sequence[Utterance]) -> list[raw.Line | None]:
    """What a text encoder is given: every utterance with its neighbours in the dialogue."""
    return raw.in_dialogue([one.line() for one in utterances], [one.dialogue for one in utterances])


Row = dict[str, Any]

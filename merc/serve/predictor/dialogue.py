"""Dialogue and Utterance: the media, text, encoder features and missing modalities of a recorded conversation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from merc.data.records import encoder_inputs, face_tracks
from merc.data.records.face_tracks import Track

TextSource = Literal["given", "recognised", ""]  # where an utterance's text is from; empty: it has none


class EncodedFeatures(NamedTuple):
    """Features of one utterance from one encoder."""

    values: np.ndarray  # (steps, dim) float32, rounded to the precision of the packs
    units: np.ndarray  # (steps, columns) float32: the input unit of each step; columns as the encoder's unit_names


@dataclass
class RecordedUtterance:
    """One utterance; media are kept compressed, as `extract` writes them, so that many fit in memory."""

    name: str
    source: Path | None
    start: float  # seconds in the source
    end: float
    dialogue: str = ""  # name of its dialogue, whose utterances are adjacent
    speaker: str = ""
    text: str = ""
    text_source: TextSource = ""
    samples: np.ndarray | None = None  # int16, 16 kHz mono
    frame: bytes = b""  # JPEG of the representative picture
    tracks: bytes = b""  # all face tracks, as written by tracks.pack
    speaker_track: int | None = None  # index of the speaker's face among the tracks
    frame_series: list[bytes] = field(default_factory=list)  # JPEGs at extract.video.fps
    sound_start: float = 0.0  # seconds from the utterance's start to the first sample, if silence was trimmed
    max_frames: int = 0  # number of evenly spaced face frames to encode; 0 = all
    missing: dict[str, str] = field(default_factory=dict)  # modality -> reason
    notes: list[str] = field(default_factory=list)  # remarks on its processing, for the user
    # by modality; missing modalities have no entry
    features: dict[str, EncodedFeatures] = field(default_factory=dict)
    typicality: dict[str, float] = field(default_factory=dict)  # of the features (merc/training/core/typicality.py)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def face(self) -> Track | None:
        """Face track of the speaker."""
        return None if self.speaker_track is None else face_tracks.track_from_bytes(self.tracks, self.speaker_track)

    @property
    def sound(self) -> encoder_inputs.AudioInput | None:
        """Input of an audio encoder."""
        if self.samples is None:
            return None
        return encoder_inputs.AudioInput(encoder_inputs.waveform(self.samples), start=self.sound_start)

    @property
    def picture(self) -> np.ndarray | None:
        """The representative picture, RGB."""
        return face_tracks.decode_jpeg(np.frombuffer(self.frame, np.uint8)) if self.frame else None

    def without(self, reasons: Mapping[str, str]) -> "RecordedUtterance":
        """This utterance without the features of some modalities; `reasons` by modality."""
        features = {name: encoded for name, encoded in self.features.items() if name not in reasons}
        return replace(self, features=features, missing={**self.missing, **reasons})

    def line(self) -> encoder_inputs.TextInput | None:
        """Input of a text encoder, without the neighbouring utterances."""
        return None if "text" in self.missing else encoder_inputs.TextInput(self.text, self.speaker)

    def thumbnail(self, side: int) -> bytes:
        """The picture as JPEG with its longer side at most `side` pixels; empty without a picture."""
        if (picture := self.picture) is None:
            return b""
        scale = min(1.0, side / max(picture.shape[:2]))
        return face_tracks.encode_jpeg(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


@dataclass
class Dialogue:
    """Utterances of one or more dialogues, in order."""

    utterances: list[RecordedUtterance]

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[RecordedUtterance]:
        return iter(self.utterances)

    def features(self, modality: str) -> list[np.ndarray | None]:
        """(steps, dim) features of each utterance, None where it lacks the modality."""
        encoded = (utterance.features.get(modality) for utterance in self)
        return [None if one is None else one.values for one in encoded]

    def prefix(self, count: int) -> "Dialogue":
        """The first `count` utterances, with the features that they have."""
        return Dialogue(self.utterances[:count])

    @property
    def speakers(self) -> list[int]:
        """Role of each utterance's speaker: 0 for the first speaker of a dialogue, 1 for the next new one."""
        roles: dict[tuple[str, str], int] = {}
        counts: dict[str, int] = {}
        for utterance in self:
            key = (utterance.dialogue, utterance.speaker)
            if key not in roles:
                roles[key] = counts.get(utterance.dialogue, 0)
                counts[utterance.dialogue] = roles[key] + 1
        return [roles[utterance.dialogue, utterance.speaker] for utterance in self]

    @property
    def starts(self) -> list[int]:
        """Index of each dialogue's first utterance, and the total number of utterances."""
        names = [utterance.dialogue for utterance in self]
        first = (index for index in range(len(names)) if not index or names[index] != names[index - 1])
        return [*first, len(names)]


def text_encoder_inputs(utterances: Sequence[RecordedUtterance]) -> list[encoder_inputs.TextInput | None]:
    """Inputs of a text encoder: each utterance with its neighbours in the dialogue."""
    return encoder_inputs.add_context(
        [utterance.line() for utterance in utterances], [utterance.dialogue for utterance in utterances]
    )


PredictionRow = dict[str, Any]

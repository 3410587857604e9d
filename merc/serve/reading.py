"""From recordings to utterances, with the settings that `extract` had; features come later."""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from merc import faces, facetracks, media, portraits, speech, turns, utterances
from merc import tracks as face_tracks
from merc.encoders import raw
from merc.encoders.raw import Choose
from merc.extraction import PICTURE_QUALITY, series
from merc.extraction_settings import Settings
from merc.pictures import Pictures
from merc.serve.dialogue import FULL_SCALE, Utterance
from merc.serve.inputs import Recording
from merc.sound import SAMPLE_RATE, Sound
from merc.speaking import Scorer

LONG = 20.0  # seconds; a longer recording is cut into utterances
LONGEST = 12 * 3600.0  # seconds of a recording that are read
NO_FACE = "no face was found: the whole picture is looked at"


@dataclass(frozen=True)
class Reader:
    """What one exported model does with sounds and pictures before its encoders get them."""

    settings: Settings
    choose: Choose  # whose face, of several, speaks
    scorer: Scorer | None = None  # lip-sync, by which a change of the speaking face divides what has no pause
    frames: int = 0  # of the face that are looked at, evenly; 0 = all

    def read(self, recording: Recording, cut: bool | None) -> Iterator[Utterance]:
        """The utterances of a recording, in order; `cut` None: if it is long."""
        length = media.seconds(recording.path)
        if cut is None and length is None:  # the header does not tell
            length = _length(media.listen(recording.path, media.Limits(0.0, LONGEST)))
        if cut or (cut is None and length > LONG):
            return self._cut(recording, length)
        return iter([self._whole(recording, length)])

    def _whole(self, recording: Recording, length: float | None) -> Utterance:
        limits = media.Limits(self.settings.audio.min_seconds, self.settings.audio.max_seconds)
        sound, pictures = media.read(recording.path, limits, self._ticks)
        end = max(_length(sound), length or 0.0)
        whole = Utterance(recording.name, recording.path, 0.0, end, recording.dialogue)
        return self.fill(whole, sound, pictures)

    def _cut(self, recording: Recording, length: float | None) -> Iterator[Utterance]:
        """Its sound is heard to the end first, then its pictures pass by; both are decoded once."""
        sound = media.listen(recording.path, media.Limits(0.0, LONGEST))
        spans, found = self.spans(sound, max(_length(sound), min(length or 0.0, LONGEST)))
        parts = zip(spans, media.watch(recording.path, spans), strict=True)
        count = itertools.count(1)
        for (begin, end), pictures in parts:
            one = Utterance("", recording.path, begin, end, recording.dialogue)
            one.notes += [] if found else ["no speech was found: the recording is cut evenly"]
            for part in self.turns(one, self.part(sound, begin, end), pictures):
                part.name = f"{recording.name}#{next(count)}"
                yield part

    def spans(self, sound: Sound, length: float) -> tuple[list[tuple[float, float]], bool]:
        """The utterances' seconds, and whether speech told them; else pieces, all as long as each other."""
        heard = [] if sound.samples is None else [span.seconds for span in utterances.spans(sound.samples)]
        if heard:
            return heard, True
        edges = np.linspace(0.0, length, int(np.ceil(length / self.settings.audio.max_seconds)) + 1)
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)), False

    def part(self, sound: Sound, begin: float, end: float) -> Sound:
        """The sound of a span."""
        if sound.samples is None:
            return Sound(reason=sound.reason)
        samples = sound.samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        short = round(self.settings.audio.min_seconds * SAMPLE_RATE) - len(samples)
        return Sound(np.pad(samples, (0, max(short, 0))), flags=list(sound.flags), reason=sound.reason)

    def turns(self, one: Utterance, sound: Sound, pictures: Pictures) -> list[Utterance]:
        """A stretch of speech, cut where another face goes on speaking, each part filled with its media."""
        followed = self._followed(pictures)
        edges = [0.0, *self._changes(sound, followed), one.seconds]
        if len(edges) == 2:
            return [self.fill(one, sound, pictures, followed)]
        parts = []
        for begin, end in itertools.pairwise(edges):
            own = Utterance("", one.source, one.start + begin, one.start + end, one.dialogue, notes=[*one.notes])
            shown = turns.between(pictures, begin, end)
            parts.append(self.fill(own, self.part(sound, begin, end), shown))
        return parts

    def _changes(self, sound: Sound, followed: list[face_tracks.Track]) -> list[float]:
        if self.scorer is None or sound.samples is None:
            return []
        return turns.cuts(followed, sound.samples.astype(np.float32) / FULL_SCALE, self.scorer)

    def _followed(self, pictures: Pictures) -> list[face_tracks.Track]:
        detector = faces.DETECTORS[self.settings.faces.detector]
        if detector is None or pictures.middle is None:
            return []
        return facetracks.follow(pictures, detector, self.settings.faces.size)

    def fill(
        self, one: Utterance, sound: Sound, pictures: Pictures, followed: list[face_tracks.Track] | None = None
    ) -> Utterance:
        """Put the media of an utterance in their places, as `extract` would; of each that is not there, say why."""
        self._hear(one, sound)
        self._see(one, pictures, self._followed(pictures) if followed is None else followed)
        return one

    @property
    def _ticks(self) -> bool:
        """Whether every picture is looked at, as extract decides it."""
        return faces.DETECTORS[self.settings.faces.detector] is not None or self.settings.video.fps > 0

    def _hear(self, one: Utterance, sound: Sound) -> None:
        if sound.samples is None:
            one.missing["audio"] = sound.reason
            return
        audio = self.settings.audio
        sound = speech.listen(sound, speech.DETECTORS[audio.vad], audio.trim, audio.min_seconds)
        one.samples, one.heard_from = sound.samples, sound.start
        one.notes += [f"audio: {sound.reason}"] if sound.reason else []
        one.notes += [] if sound.samples.any() else ["audio: it is silent throughout"]

    def _see(self, one: Utterance, pictures: Pictures, followed: list[face_tracks.Track]) -> None:
        if pictures.middle is None:
            one.missing["vision"] = pictures.reason
            return
        self._keep(one, followed)
        portrait = portraits.PORTRAITS[self.settings.video.frame](pictures, followed)
        one.frame = face_tracks.encode(portrait, PICTURE_QUALITY)
        one.series = list(series(pictures, self.settings.video))
        one.frames = self.frames
        one.notes += [f"vision: {pictures.reason}"] if pictures.reason else []

    def _keep(self, one: Utterance, followed: list[face_tracks.Track]) -> None:
        """Face tracks, coded as they are on disk: what encoders were trained on."""
        if faces.DETECTORS[self.settings.faces.detector] is None:
            return
        one.tracks = face_tracks.pack(followed)
        kept = face_tracks.unpack(one.tracks) if len(followed) > 1 else followed  # alone, its looks do not matter
        one.speaks = self.choose(kept, one.sound) if kept else None
        one.notes += [] if kept else [f"vision: {NO_FACE}"]


def faces_of(one: Utterance, rate: float | None = None) -> raw.Faces | None:
    """What a vision encoder is given: the speaker's face, or the whole picture; some frames of it, if asked.

    `rate`: whole pictures at so many a second instead.
    """
    if not one.frame or "vision" in one.missing:
        return None
    track = one.face
    if rate and one.series:
        seen = raw.film([raw.whole_frame(io.BytesIO(each)) for each in one.series], rate)
    else:
        seen = raw.whole_frame(io.BytesIO(one.frame)) if track is None or rate else raw.face(track)
    if not one.frames or one.frames >= len(seen.times):
        return seen
    kept = np.linspace(0, len(seen.times) - 1, one.frames).round().astype(int)
    return raw.Faces(seen.crops[kept], seen.boxes[kept], seen.times[kept])


def _length(sound: Sound) -> float:
    return 0.0 if sound.samples is None else len(sound.samples) / SAMPLE_RATE

"""Reader: decodes recordings into utterances with sound and faces, with the settings of the stage `extract`."""

import io
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from merc.data.records import encoder_inputs, face_tracks
from merc.data.records.encoder_inputs import SAMPLE_RATE, TrackChooser
from merc.encoders.lipsync.synchrony import SpeakerScorer
from merc.media import clip_reader
from merc.media.extraction import processing
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.media.extraction.processing import ProcessedPictures
from merc.media.images import Pictures
from merc.media.sound import ClipSound
from merc.media.spare_threads import ALONE, SpareThreads
from merc.serve.predictor import segmentation, speaker_changes
from merc.serve.predictor.dialogue import RecordedUtterance
from merc.serve.predictor.recording_files import Recording

CUT_ABOVE_SECONDS = 20.0  # seconds; a longer recording is cut into utterances


@dataclass(frozen=True)
class Reader:
    """Reads recordings into the inputs of one exported model's encoders."""

    settings: ExtractionConfig
    choose: TrackChooser  # chooses the speaker's track among several faces
    # lip-sync scorer: speech without a pause is cut where another face speaks on
    scorer: SpeakerScorer | None = None
    max_frames: int = 0  # number of evenly spaced face frames to encode; 0 = all
    max_seconds: float = 12 * 3600.0  # seconds of a recording that are read
    spare: SpareThreads = ALONE  # that share the work on a recording
    # called with the utterance of an uncut recording as soon as its sound is stored and its faces are found
    listen: Callable[[RecordedUtterance], None] | None = None

    def read(self, recording: Recording, cut: bool | None) -> Iterator[RecordedUtterance]:
        """Utterances of a recording, in order; `cut` None: cut it only if it is longer than 20 s."""
        limits = clip_reader.Limits(self.settings.audio.min_seconds, self._longest_uncut)
        ticks = processing.decodes_all_pictures(self.settings)
        short = {None: CUT_ABOVE_SECONDS, True: -math.inf, False: math.inf}[cut]
        length, media = clip_reader.read_if_short(recording.path, limits, ticks, short, self.max_seconds)
        if media is None:
            return self._read_cut(recording, length)
        end = max(_length(media[0]), min(length or 0.0, self._longest_uncut))
        utterance = RecordedUtterance(recording.name, recording.path, 0.0, end, recording.dialogue)
        return iter([self.fill(utterance, *media, listen=self.listen)])

    @property
    def _longest_uncut(self) -> float:
        """Seconds: what is not cut is read to its end, though extract keeps less of such a clip."""
        return max(self.settings.audio.max_seconds, CUT_ABOVE_SECONDS)

    def _read_cut(self, recording: Recording, length: float | None) -> Iterator[RecordedUtterance]:
        """Decode the whole sound to find the utterances, then their pictures in a second pass."""
        sound = clip_reader.read_sound(recording.path, clip_reader.Limits(0.0, self.max_seconds))
        spans, has_speech = self.spans(sound, max(_length(sound), min(length or 0.0, self.max_seconds)))
        pictures_of_spans = zip(spans, clip_reader.read_pictures(recording.path, spans), strict=True)
        numbers = itertools.count(1)
        for (begin, end), pictures in pictures_of_spans:
            # a damaged header or time stamp may promise hours that were never recorded
            if begin > 0 and begin >= _length(sound) and pictures.middle is None:
                continue
            utterance = RecordedUtterance("", recording.path, begin, end, recording.dialogue)
            utterance.notes += [] if has_speech else ["no speech was found: the recording is cut evenly"]
            for turn in self.turns(utterance, self.part(sound, begin, end), pictures):
                turn.name = f"{recording.name}#{next(numbers)}"
                yield turn

    def spans(self, sound: ClipSound, length: float) -> tuple[list[tuple[float, float]], bool]:
        """Start and end of the utterances in seconds, and whether speech was found; else equally long pieces."""
        spoken = [] if sound.samples is None else [span.seconds for span in segmentation.segment(sound.samples)]
        if spoken:
            return spoken, True
        edges = np.linspace(0.0, length, int(np.ceil(length / self.settings.audio.max_seconds)) + 1)
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)), False

    def part(self, sound: ClipSound, begin: float, end: float) -> ClipSound:
        """Sound from `begin` to `end` seconds, zero-padded to the minimum length."""
        if sound.samples is None:
            return ClipSound(reason=sound.reason)
        samples = sound.samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        padding = round(self.settings.audio.min_seconds * SAMPLE_RATE) - len(samples)
        return ClipSound(np.pad(samples, (0, max(padding, 0))), flags=list(sound.flags), reason=sound.reason)

    def turns(self, utterance: RecordedUtterance, sound: ClipSound, pictures: Pictures) -> list[RecordedUtterance]:
        """Cut a stretch of speech where another face goes on speaking, and fill each part with its media."""
        tracks = processing.track_faces(pictures, self.settings, self.spare)
        edges = [0.0, *self._speaker_changes(sound, tracks or []), utterance.seconds]
        if len(edges) == 2:
            return [self.fill(utterance, sound, pictures, tracks)]
        turns = []
        for begin, end in itertools.pairwise(edges):
            start, stop = utterance.start + begin, utterance.start + end
            turn = RecordedUtterance(
                "", utterance.source, start, stop, utterance.dialogue, notes=[*utterance.notes]
            )
            turn_pictures = speaker_changes.slice_pictures(pictures, begin, end)
            turns.append(self.fill(turn, self.part(sound, begin, end), turn_pictures))
        return turns

    def _speaker_changes(self, sound: ClipSound, tracks: list[face_tracks.Track]) -> list[float]:
        if self.scorer is None or sound.samples is None:
            return []
        return speaker_changes.speaker_change_times(tracks, encoder_inputs.waveform(sound.samples), self.scorer)

    def fill(
        self,
        utterance: RecordedUtterance,
        sound: ClipSound,
        pictures: Pictures,
        tracks: list[face_tracks.Track] | None = None,
        listen: Callable[[RecordedUtterance], None] | None = None,
    ) -> RecordedUtterance:
        """Store the media in the utterance as `extract` does, and the reasons for missing ones."""
        self._store_sound(utterance, processing.process_sound(sound, self.settings))
        if tracks is None:
            tracks = processing.track_faces(pictures, self.settings, self.spare)
        if listen is not None:
            listen(utterance)
        if pictures.middle is None:
            utterance.missing["vision"] = pictures.reason
            return utterance
        self._store_pictures(utterance, processing.process_pictures(pictures, self.settings, tracks))
        utterance.notes += [f"vision: {pictures.reason}"] if pictures.reason else []
        return utterance

    def _store_sound(self, utterance: RecordedUtterance, sound: ClipSound) -> None:
        if sound.samples is None:
            utterance.missing["audio"] = sound.reason
            return
        utterance.samples, utterance.sound_start = sound.samples, sound.start
        utterance.notes += [f"audio: {sound.reason}"] if sound.reason else []

    def _store_pictures(self, utterance: RecordedUtterance, processed: ProcessedPictures) -> None:
        """Store the pictures compressed as on disk, which is what the encoders were trained on."""
        utterance.frame, utterance.frame_series = processed.frame, processed.frame_series
        utterance.max_frames = self.max_frames
        if (tracks := processed.tracks) is None:
            return
        utterance.tracks = processed.packed_tracks
        # a single track is chosen whatever its crops look like: it need not be decompressed
        candidates = face_tracks.tracks_from_bytes(utterance.tracks) if len(tracks) > 1 else tracks
        utterance.speaker_track = self.choose(candidates, utterance.sound) if candidates else None
        utterance.notes += [] if candidates else [f"vision: {processed.no_face}: the whole picture is looked at"]


def vision_encoder_input(
    utterance: RecordedUtterance, rate: float | None = None
) -> encoder_inputs.VisionInput | None:
    """Input of a vision encoder: the speaker's face, else the whole picture, at most `max_frames` frames of it.

    `rate`: whole pictures at this rate (per second) instead of faces.
    """
    if not utterance.frame or "vision" in utterance.missing:
        return None
    frame = io.BytesIO(utterance.frame)
    if rate:
        series = [io.BytesIO(jpeg) for jpeg in utterance.frame_series]
        pictures = encoder_inputs.frame_series_input(series, frame, rate)
    else:
        pictures = encoder_inputs.face_input(utterance.face, frame)
    if not utterance.max_frames or utterance.max_frames >= len(pictures.times):
        return pictures
    indices = np.linspace(0, len(pictures.times) - 1, utterance.max_frames).round().astype(int)
    return encoder_inputs.VisionInput(pictures.crops[indices], pictures.boxes[indices], pictures.times[indices])


def _length(sound: ClipSound) -> float:
    """Length in seconds."""
    return 0.0 if sound.samples is None else len(sound.samples) / SAMPLE_RATE

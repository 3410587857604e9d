"""Predictor: loads an exported model and answers every task for each utterance of recordings."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from merc.data.records import encoder_inputs
from merc.data.records.stream_name import StreamName
from merc.encoders.base import packing
from merc.encoders.base.encoder import extract_features
from merc.encoders.lipsync import synchrony
from merc.encoders.pretrained import transcription
from merc.encoders.pretrained.transcription import SpeechRecogniser
from merc.export import bundle
from merc.media import speech_recognition
from merc.runtime.errors import UserError
from merc.serve.predictor import folder_contents, inference, recording_reader, transcripts
from merc.serve.predictor.dialogue import (
    Dialogue,
    EncodedFeatures,
    PredictionRow,
    RecordedUtterance,
    text_encoder_inputs,
)
from merc.serve.predictor.engines import ENGINES
from merc.serve.predictor.recording_files import Recording, recordings
from merc.serve.predictor.threads import Helpers, helpers_for
from merc.serve.predictor.transcripts import Texts
from merc.training.core import typicality
from models import checkpoint

ENCODER_BATCH_SIZE = 32  # utterances in an encoder's batch
MAX_THREADS = 4  # of one read: the pictures of a clip that is being read may take 250 MB
EXPORT_FOLDER = "out/export"
UNLIKE = "unlike anything the model has learnt (typicality {typicality:.2f}): left out"
Progress = Callable[[int, int, str], Any]  # steps done, total, description


def _report_nothing(done: int, total: int, what: str) -> None:
    """Ignore the progress: the default."""


class Predictor:
    """An exported model with its encoders; thread-safe, since it holds no state between calls."""

    def __init__(self, folder: Path, engine: str, *, keep_atypical: bool = False) -> None:
        self.folder, self.max_threads, self.keep_atypical = folder, MAX_THREADS, keep_atypical
        contents = folder_contents.read(folder)
        self.labels, self.calibration = contents.network.labels, contents.calibration
        self.colours = contents.colours
        self.tasks = {name: contents.network.task(name) for name in self.labels}
        self.settings, self.needs = contents.settings, contents.encoders
        self.modalities, self.typicality = tuple(contents.network.model.modalities), contents.typicality
        self.speakers = contents.speakers
        self.encoders = {
            modality: encoder
            for modality, description in self.needs.items()
            if (encoder := ENGINES[engine].load_encoder(folder, modality, description)) is not None
        }
        folder_contents.check_widths(folder, contents.network.streams, self.encoders)
        self.forward = ENGINES[engine].load_forward(folder, contents.network)
        scorer = None if self._picture_kind == "frame" else synchrony.load_scorer(folder / "lipsync")
        self.reader = recording_reader.Reader(self.settings, self._speaker_chooser(scorer), scorer)

    @classmethod
    def load(
        cls,
        folder: str | Path = EXPORT_FOLDER,
        *,
        engine: str = "auto",
        trust: str | None = None,
        keep_atypical: bool = False,
    ) -> "Predictor":
        """Load a model from a folder after checking its hashes; params.yaml is not read.

        engine: torch, onnx or int8; auto: torch, but onnx for a text encoder that was exported. Explanations need
        torch. trust: the SHA-256 that hashes.json must have. keep_atypical: a modality that is unlike anything
        that was learnt is used all the same.
        """
        if engine not in ENGINES:
            raise UserError(f"engine {engine!r}: choose one of {', '.join(ENGINES)}")
        try:
            bundle.verify(Path(folder), trust)
            return cls(Path(folder), engine, keep_atypical=keep_atypical)
        except checkpoint.UnreadableCheckpoint as error:
            raise UserError(f"{error}; {bundle.REMEDY}") from None

    def __call__(self, paths: str | Path | Iterable[str | Path], **options: Any) -> list[PredictionRow]:
        """Read recordings and predict; `options` as of `read`."""
        return self.answer(self.read(paths, **options))

    def read(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        texts: Texts = None,
        cut: bool | None = None,
        frames: int | None = None,
        asr: SpeechRecogniser | None = None,
        progress: Progress | None = None,
    ) -> Dialogue:
        """Decode recordings, find faces and encode; a recording is one utterance, or several if it is long or cut.

        texts: one text, one per utterance, a mapping by utterance or file name, or a .txt, .srt, .vtt or .csv file;
        None: such a file next to the recording. cut: split at pauses; None: only recordings over 20 s. frames:
        number of evenly spaced face frames to encode; None: all. asr: writes down speech
        without a text (merc/encoders/pretrained/transcription.py: default_transcriber, load_transcriber).
        """
        if frames is not None and frames < 1:
            raise UserError(f"frames = {frames}: at least 1")
        report = progress or _report_nothing
        files = recordings(paths)
        begun: list[Callable[[], None]] = []  # the encoding of the sound of a single clip

        def listen(utterance: RecordedUtterance) -> None:
            begun.append(self._helpers.begin(partial(self._encode_sound, utterance)))

        reader = replace(
            self.reader,
            max_frames=frames or 0,
            spare=self._helpers,
            listen=listen if len(files) == 1 and "audio" in self.encoders else None,
        )
        utterances: list[RecordedUtterance] = []
        is_cancelled = threading.Event()  # set on an interrupt, since threads cannot be ended from outside
        read_file = partial(
            self._read_recording, reader, texts, cut, is_cancelled, report if len(files) == 1 else None
        )
        with self._helpers.results(read_file, files) as results_in_order:
            try:
                for number, recording in enumerate(files):
                    report(number, len(files), f"reading {recording.path.name}")
                    utterances += next(results_in_order)
            finally:
                is_cancelled.set()
        given_texts = transcripts.texts_by_utterance(texts, len(utterances)) or ()
        for utterance, text in zip(utterances, given_texts, strict=False):
            utterance.text = text
        _refuse_empty(utterances, files)
        self._write_all_down(utterances, asr, report)
        modalities = [name for name in self.encoders if not (begun and name == "audio")]
        encoded = self._encode(utterances, report, modalities)
        for finish in begun:
            finish()
        return Dialogue(encoded)

    def answer(self, dialogue: Dialogue, hide: Iterable[str] = ()) -> list[PredictionRow]:
        """Predict a row (docs/predict.md) for each utterance, the modalities in `hide` being treated as missing."""
        if unknown := sorted(set(hide) - set(self.modalities)):
            raise UserError(f"hide: {unknown[0]!r}: choose from {', '.join(self.modalities)}")
        hide, dialogue = tuple(hide), self.trusted(dialogue)

        def forward(batch: dict[str, Any]) -> inference.Outputs:
            return self.forward(inference.hide_modalities(batch, self.modalities, hide))

        outputs = inference.predict_outputs(forward, dialogue, self.modalities, self.streams, self.speakers)
        return inference.prediction_rows(dialogue, outputs, self.tasks, self.calibration, self.modalities, hide)

    def trusted(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue without the modalities that are unlike anything that was learnt, with the reason of each."""
        if self.keep_atypical:
            return dialogue
        limit = typicality.threshold(self.modalities)
        return Dialogue(
            [
                utterance.without(
                    {
                        modality: UNLIKE.format(typicality=value)
                        for modality, value in utterance.typicality.items()
                        if value <= limit
                    }
                )
                for utterance in dialogue
            ]
        )

    def encode(
        self, utterances: Sequence[RecordedUtterance], progress: Progress = _report_nothing, begin: int = 0
    ) -> list[RecordedUtterance]:
        """Compute the features of the utterances from index `begin` on; all are context for the text encoder."""
        return self._encode(utterances, progress, list(self.encoders), begin)

    def _encode(
        self, utterances: Sequence[RecordedUtterance], progress: Progress, modalities: list[str], begin: int = 0
    ) -> list[RecordedUtterance]:
        text_inputs = text_encoder_inputs(utterances)
        for first in range(begin, len(utterances), ENCODER_BATCH_SIZE):
            progress(first, len(utterances), "encoding")
            batch = slice(first, first + ENCODER_BATCH_SIZE)
            self._encode_batch(modalities, utterances[batch], text_inputs[batch])
        progress(len(utterances), len(utterances), "encoding")
        return list(utterances)

    @property
    def streams(self) -> dict[str, str]:
        """Name of the network's feature stream by modality."""
        return {modality: str(StreamName(modality, encoder.name)) for modality, encoder in self.encoders.items()}

    @property
    def _helpers(self) -> Helpers:
        return helpers_for(self.max_threads)

    @property
    def _picture_kind(self) -> str:
        return self.needs["vision"]["settings"]["picture"] if "vision" in self.needs else "face"

    @property
    def whole_frame_rate(self) -> float | None:
        """Whole pictures per second that the vision encoder gets; None if it gets faces or one picture."""
        return self.settings.video.fps if self._picture_kind == "frames" else None

    def _encode_batch(
        self,
        modalities: list[str],
        utterances: Sequence[RecordedUtterance],
        text_inputs: Sequence[encoder_inputs.TextInput | None],
    ) -> None:
        def encode(modality: str) -> None:
            inputs: Sequence[Any] = text_inputs
            if modality == "audio":
                inputs = [utterance.sound for utterance in utterances]
            elif modality == "vision":
                rate = self.whole_frame_rate
                inputs = [recording_reader.vision_encoder_input(utterance, rate) for utterance in utterances]
            self._encode_modality(modality, utterances, inputs)

        self._helpers.share(encode, modalities[::-1])

    def _encode_sound(self, utterance: RecordedUtterance) -> None:
        self._encode_modality("audio", [utterance], [utterance.sound])

    def _encode_modality(
        self, modality: str, utterances: Sequence[RecordedUtterance], inputs: Sequence[Any]
    ) -> None:
        encoder, judge = self.encoders[modality], self.typicality.get(self.streams[modality])
        present = [pair for pair in zip(utterances, inputs, strict=True) if pair[1] is not None]
        inputs = [encoder_input for _, encoder_input in present]
        encoded = zip(extract_features(encoder, inputs), packing.units_on_clip_time(encoder, inputs), strict=True)
        for (utterance, _), (values, units) in zip(present, encoded, strict=True):
            stored = values.astype(encoder.stored).astype(np.float32)
            utterance.features[modality] = EncodedFeatures(stored, units)
            if judge is not None and np.isfinite(stored).any():
                utterance.typicality[modality] = float(judge.typicality(stored, np.array([len(stored)]))[0])

    def _read_recording(
        self,
        reader: recording_reader.Reader,
        texts: Texts,
        cut: bool | None,
        is_cancelled: threading.Event,
        report: Progress | None,
        recording: Recording,
    ) -> list[RecordedUtterance]:
        """Utterances of a recording with their texts and speakers, as far as a transcript gives them."""
        cues = transcripts.read_cues(recording, texts)
        utterances: list[RecordedUtterance] = []
        for utterance in reader.read(recording, cut):
            utterances.append(utterance)
            if is_cancelled.is_set():
                break
            if report:
                report(len(utterances), 0, f"reading {recording.path.name}: {utterance.end:.0f} s")
        spans = [(utterance.start, utterance.end) for utterance in utterances]
        cues_of = [cues] if len(utterances) == 1 else transcripts.assign_cues(cues, spans)
        for utterance, utterance_cues in zip(utterances, cues_of, strict=True):
            utterance.text = " ".join(cue.text for cue in utterance_cues)
            utterance.speaker = next((cue.speaker for cue in utterance_cues if cue.speaker), "")
            if not utterance_cues and (reason := transcripts.reason_for_none(cues, spans)):
                utterance.missing["text"] = reason
        return utterances

    def write_down(self, utterance: RecordedUtterance, asr: SpeechRecogniser | None) -> None:
        """Write down an utterance without text; note missing text and modalities without an encoder."""
        is_given, unused = bool(utterance.text.strip()), utterance.missing.pop("text", "")
        reason = unused or transcripts.NO_TEXT_REASON
        if not is_given and asr is not None and utterance.samples is not None:
            utterance.text = speech_recognition.words_in(utterance.samples, asr)
            reason = unused or transcripts.NO_WORDS_REASON
        utterance.text_source = "given" if is_given else "recognised" if utterance.text.strip() else ""
        if utterance.text_source == "recognised":
            utterance.notes += [f"text: {remark}" for remark in (transcription.remark(asr), unused) if remark]
        if not utterance.text_source:
            utterance.text, utterance.missing["text"] = "", reason
        for modality in self.modalities:
            if modality not in self.encoders:
                utterance.missing[modality] = "this model has no encoder that can read it"

    def _write_all_down(
        self, utterances: Sequence[RecordedUtterance], asr: SpeechRecogniser | None, report: Progress
    ) -> None:
        """Write down the utterances of each recording, in order."""
        recogniser, source = asr, None
        for number, utterance in enumerate(utterances):
            if asr and not utterance.text.strip():
                report(number, len(utterances), "writing down speech")
            if asr and utterance.source != source:
                recogniser, source = transcription.for_recording(asr), utterance.source
            self.write_down(utterance, recogniser)

    def _speaker_chooser(self, scorer: synchrony.SpeakerScorer | None) -> encoder_inputs.TrackChooser:
        """Choose the speaker's face by lip-sync, the largest without a scorer, none if the encoder gets a frame."""
        if self._picture_kind == "frame":
            return lambda tracks, sound: None
        return lambda tracks, sound: synchrony.choose_speaker(tracks, sound, scorer)


def _refuse_empty(utterances: Sequence[RecordedUtterance], files: Sequence[Recording]) -> None:
    """Refuse recordings without any sound, picture or text; beside usable ones they get rows with all missing."""
    if all(
        {"audio", "vision"} <= set(utterance.missing) and not utterance.text.strip() for utterance in utterances
    ):
        reasons = dict.fromkeys(reason for utterance in utterances[:1] for reason in utterance.missing.values())
        raise UserError(f"{files[0].path}: {', '.join(reasons)}; there is nothing to predict from")

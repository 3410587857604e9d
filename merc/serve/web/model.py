"""Adapter of the Predictor to the page: users' clip names, thumbnails of faces, explanations, subtitles."""

import csv
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from merc.data.records import face_tracks
from merc.encoders.pretrained.transcription import SpeechRecogniser
from merc.media import clip_reader
from merc.runtime.errors import UserError
from merc.serve.commands import outputs
from merc.serve.predictor import transcripts
from merc.serve.predictor.dialogue import Dialogue, RecordedUtterance
from merc.serve.predictor.explanations import PredictionExplainer
from merc.serve.predictor.predictor import Predictor, Progress
from merc.serve.predictor.transcripts import NO_TEXT_REASON
from merc.serve.web.jobs import PageJob, PageLimits
from merc.serve.web.processes import ProcessPool

DECODING_FRACTION = 0.8  # fraction of the progress bar for decoding; the rest is for encoding
THUMBNAIL_PIXELS = 144  # maximum side of a thumbnail in pixels
NICENESS = 19  # of explanations: a seventieth of a reader's share where cores are short


@dataclass(frozen=True)
class ReaderProgram:
    """Loads, in a process of its own, what reads a conversation."""

    folder: Path
    trust: str | None
    seconds: float  # headers may lie about a length: no more is read
    asr: SpeechRecogniser | None  # not loaded yet

    def __call__(self) -> Callable[..., Dialogue]:
        """Function of a report, paths, transcript and cut."""
        predictor = Predictor.load(self.folder, trust=self.trust)
        predictor.max_threads = 1  # the processes share the cores
        predictor.reader = replace(predictor.reader, max_seconds=self.seconds)

        def read(report: Progress, paths: list[Path], texts: Path, cut: bool | None) -> Dialogue:
            _check_length(paths, self.seconds)
            return predictor.read(paths, texts=texts, cut=cut, asr=self.asr, progress=report)

        return read


@dataclass(frozen=True)
class ExplainerProgram:
    """Loads, in a process of its own, what explains a prediction."""

    folder: Path
    trust: str | None
    keep_atypical: bool

    def __call__(self) -> Callable[..., dict[str, Any]]:
        """Function of a report (there is no progress) and the arguments of PredictionExplainer.explain."""
        predictor = Predictor.load(self.folder, engine="torch", trust=self.trust, keep_atypical=self.keep_atypical)
        explainer = PredictionExplainer(predictor)
        return lambda report, *arguments: explainer.explain(*arguments)


class PredictorPageModel:
    """Implements the model's interface of merc/serve/web/handlers.py."""

    def __init__(
        self,
        folder: Path,
        limits: PageLimits,
        trust: str | None = None,
        asr: SpeechRecogniser | None = None,
        hint: str = "",  # what would write down the speech of clips without text
        *,
        keep_atypical: bool = False,
    ) -> None:
        self.reader = ProcessPool(ReaderProgram(folder, trust, limits.seconds, asr), limits.readers)
        self.explainer = ProcessPool(ExplainerProgram(folder, trust, keep_atypical), 1, NICENESS)
        self.limits, self.hint = limits, hint
        try:
            self.predictor = Predictor.load(folder, trust=trust, keep_atypical=keep_atypical)
        except BaseException:
            self.close()
            raise
        self.about = {
            "modalities": list(self.predictor.modalities),
            "labels": self.predictor.labels,
            "colours": self.predictor.colours,
            "writes_down": asr is not None,  # the speech of clips without words
        }

    def close(self) -> None:
        """End the processes."""
        self.reader.close()
        self.explainer.close()

    def read(self, job: PageJob) -> Dialogue:
        """Decode and encode a job's clips, and name the utterances after the user's clips."""
        if not all(clip.path.is_file() for clip in job.clips):
            raise UserError("a clip is no longer there; choose it again")
        names = {clip.path.name: clip.name for clip in job.clips}

        def report(done: int, total: int, description: str) -> None:
            for path, name in names.items():
                description = description.replace(path, name)
            fraction = done / total if total else 0.0
            fraction = (
                DECODING_FRACTION + (1 - DECODING_FRACTION) * fraction
                if description == "encoding"
                else DECODING_FRACTION * fraction
            )
            job.report(f"{description[0].upper()}{description[1:]}", fraction)

        paths = [clip.path for clip in job.clips]
        dialogue = self.reader(paths, _write_transcript(job), job.cut, report=report)
        _rename_utterances(dialogue, job)
        return dialogue

    def view(self, dialogue: Dialogue) -> list[dict[str, Any]]:
        """Per utterance: its clip and times in it, whether it has a picture, missing modalities and notes."""
        clips = list(dict.fromkeys(utterance.source for utterance in dialogue))
        dialogue = self.predictor.trusted(dialogue)
        return [
            {
                "clip": clips.index(utterance.source),
                "begin": round(utterance.start, 3),
                "end": round(utterance.end, 3),
                "picture": bool(utterance.frame),
                "missing": {
                    modality: f"{reason}{self.hint}" if reason == NO_TEXT_REASON else reason
                    for modality, reason in utterance.missing.items()
                },
                "notes": utterance.notes,
            }
            for utterance in dialogue
        ]

    def answer(self, dialogue: Dialogue, hide: tuple[str, ...]) -> list[dict[str, Any]]:
        """Predict a row for each utterance."""
        return self.predictor.answer(dialogue, hide)

    def explain(self, dialogue: Dialogue, number: int, hide: tuple[str, ...]) -> dict[str, Any]:
        """Explain the prediction of an utterance (merc/serve/predictor/explanations.py)."""
        return self.explainer(dialogue, number, hide)

    def subtitles(self, dialogue: Dialogue, rows: list[dict[str, Any]]) -> str:
        """Subtitles in SubRip format."""
        with tempfile.TemporaryDirectory(prefix="merc-subtitles-") as folder:
            path = Path(folder) / "emotions.srt"
            outputs.write_srt(path, rows, dialogue)
            return path.read_text(encoding="utf-8")

    def picture(self, dialogue: Dialogue, number: int, whole: bool) -> bytes:
        """JPEG of the speaker's face, else a thumbnail, or the whole picture; empty if there is none."""
        utterance = dialogue.utterances[number]
        if whole or not utterance.frame:
            return utterance.frame
        return _face(utterance) or utterance.thumbnail(THUMBNAIL_PIXELS)


def _check_length(paths: list[Path], longest: float) -> None:
    """Refuse clips that are too long together."""
    seconds = sum(clip_reader.clip_duration(path, longest) or 0.0 for path in paths)
    if seconds > longest:
        raise UserError(
            f"{paths[0].name}{' and the others' if paths[1:] else ''}: {seconds / 60:.1f} minutes; at most "
            f"{longest / 60:g} can be read here: choose a part, or use `python -m merc predict`"
        )


def _write_transcript(job: PageJob) -> Path:
    """Write the clips' texts as a CSV table into the job's folder; subtitles keep their times."""
    path = job.folder / "words.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "speaker", "start", "end", "text"])
        for clip in job.clips:
            cues = transcripts.parse_subtitles(clip.text) or [transcripts.Cue(clip.text)]
            for cue in cues:
                writer.writerow([clip.path.name, cue.speaker or clip.speaker, cue.start, cue.end, cue.text])
    return path


def _rename_utterances(dialogue: Dialogue, job: PageJob) -> None:
    """Rename 003#2 to party.mp4#2; clips with the same name are numbered."""
    speakers = {clip.path: clip.speaker for clip in job.clips}
    names = [clip.name for clip in job.clips]
    unique_names = {
        clip.path: clip.name if names.count(clip.name) == 1 else f"{number}. {clip.name}"
        for number, clip in enumerate(job.clips, start=1)
    }
    for utterance in dialogue:
        stem, mark, part = utterance.name.partition("#")
        source = Path(cast("Path", utterance.source))  # None in a stream only
        # without a text the transcript has given no speaker
        utterance.speaker = utterance.speaker or speakers[source]
        utterance.name = f"{unique_names.get(source, stem)}{mark}{part}"


def _face(utterance: RecordedUtterance) -> bytes:
    """JPEG of the speaker's face in the middle of the utterance; empty without a face."""
    face = utterance.face
    if face is None:
        return b""
    middle = face.crops[np.abs(face.frames / face_tracks.TRACK_FPS - utterance.seconds / 2).argmin()]
    return face_tracks.encode_jpeg(middle)

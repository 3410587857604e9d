"""An exported model at work: recordings in, a row with emotion and sentiment for every utterance out."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from merc import exporting, results, speaking
from merc.encoders import naming, packing, raw
from merc.encoders.encoder import Encoder, features
from merc.extraction_settings import Settings
from merc.live import SPACING
from merc.problem import Problem
from merc.serve import answering, reading, transcripts
from merc.serve.beside import beside
from merc.serve.dialogue import Dialogue, Encoded, Row, Utterance, lines
from merc.serve.engines import ENGINES
from merc.serve.inputs import Recording, recordings
from merc.serve.transcripts import Texts
from models import checkpoint

if TYPE_CHECKING:
    from merc.serve.streaming import Stream

TOGETHER = 32  # utterances that are encoded at once
FOLDER = "out/export"
Progress = Callable[[int, int, str], Any]  # done, of how many, what


class Predictor:
    """Everything that `export` left in a folder, ready to be asked by any number of threads."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder, self.engine = folder, engine
        self.labels: dict[str, list[str]] = results.read_json(folder / "labels.json")
        self.calibration = results.read_json(folder / "calibration.json")
        self.settings = Settings.model_validate(results.read_json(folder / "extraction.json"))
        self.needs: dict[str, dict[str, Any]] = results.read_json(folder / "encoders.json")
        self.modalities = tuple(results.read_json(folder / "config.json")["model"]["modalities"])
        self.encoders = {m: found for m, one in self.needs.items() if (found := self._encoder(m, one)) is not None}
        self.ask = ENGINES[engine].ask(folder)
        scorer = None if self._picture == "frame" else speaking.load_scorer(folder / "lipsync")
        self.reader = reading.Reader(self.settings, self._choose(scorer), scorer)

    @classmethod
    def load(cls, folder: str | Path = FOLDER, *, engine: str = "torch") -> "Predictor":
        """The model in a folder, if it is what was exported; params.yaml is not looked at."""
        if engine not in ENGINES:
            raise Problem(f"engine {engine!r}: choose one of {', '.join(ENGINES)}")
        try:
            exporting.verify(Path(folder))
            return cls(Path(folder), engine)
        except (ValidationError, KeyError, TypeError, AttributeError, checkpoint.Unreadable) as error:
            reason = " ".join(str(error).split())[:160]
            raise Problem(f"{folder}: is of another version of merc ({reason}); export it again") from None

    def __call__(self, paths: str | Path | Iterable[str | Path], **how: Any) -> list[Row]:
        """Read and answer; `how` as of `read`."""
        return self.answer(self.read(paths, **how))

    def read(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        texts: Texts = None,
        cut: bool | None = None,
        frames: int | None = None,
        asr: Callable[[np.ndarray], str] | None = None,
        progress: Progress | None = None,
    ) -> Dialogue:
        """Decode, find faces and encode; one recording is one utterance, or many if it is long or to be cut.

        texts: what is said: one text, one for each utterance, a mapping by utterance or file name, or a .txt,
        .srt, .vtt or .csv file; None: such a file beside the recording. frames: of the face, evenly, that are
        looked at. asr: writes down 16 kHz samples of whatever has no text.
        """
        if frames is not None and frames < 1:
            raise Problem(f"frames = {frames}: at least 1")
        tell = progress or (lambda done, total, what: None)
        reader = replace(self.reader, frames=frames or 0)
        asked, read = recordings(paths), []
        left = threading.Event()  # by whoever interrupts: threads end by themselves alone
        one_of = partial(self._read_one, reader, texts, cut, left, tell if len(asked) == 1 else None)
        with beside(one_of, asked) as found:
            try:
                for number, recording in enumerate(asked):
                    tell(number, len(asked), f"reading {recording.path.name}")
                    read += next(found)
            finally:
                left.set()
        _say(read, transcripts.literal(texts, len(read)))
        _refuse_nothing(read, asked)
        for one in read:
            self.write_down(one, asr)
        return Dialogue(self.encode(read, tell))

    def answer(self, dialogue: Dialogue, hide: Iterable[str] = ()) -> list[Row]:
        """A row for every utterance (docs/predict.md), as if the modalities in `hide` were missing everywhere."""
        if unknown := sorted(set(hide) - set(self.modalities)):
            raise Problem(f"hide: {unknown[0]!r}: choose from {', '.join(self.modalities)}")
        hide = tuple(hide)

        def ask(batch: dict[str, Any]) -> answering.Answers:
            return self.ask(answering.hidden(batch, self.modalities, hide))

        found = answering.answers(ask, dialogue, self.modalities, self.streams)
        return answering.rows(dialogue, found, self.labels, self.calibration, self.modalities, hide)

    def stream(self, *, asr: Callable[[np.ndarray], str] | None = None, spacing: float = SPACING) -> "Stream":
        """Answers while someone speaks: see merc/serve/streaming.py. spacing: seconds between its pictures."""
        from merc.serve.streaming import Stream

        return Stream(self, asr, spacing)

    def encode(
        self, utterances: Sequence[Utterance], tell: Progress = lambda *_: None, begin: int = 0
    ) -> list[Utterance]:
        """Fill in the features of these utterances from `begin` on; they know their neighbours of one dialogue."""
        said = lines(utterances)
        for first in range(begin, len(utterances), TOGETHER):
            tell(first, len(utterances), "encoding")
            own = slice(first, first + TOGETHER)
            self._encode_some(utterances[own], said[own])
        tell(len(utterances), len(utterances), "encoding")
        return list(utterances)

    @property
    def streams(self) -> dict[str, str]:
        """By modality, what the network calls the features of its encoder."""
        return {modality: f"{modality}/{encoder.name}" for modality, encoder in self.encoders.items()}

    @property
    def _picture(self) -> str:
        return self.needs["vision"]["settings"]["picture"] if "vision" in self.needs else "face"

    @property
    def film(self) -> float | None:
        """Pictures a second that are looked at instead of a face."""
        return self.settings.video.fps if self._picture == "frames" else None

    def _encode_some(self, utterances: Sequence[Utterance], said: Sequence[raw.Line | None]) -> None:
        given = {
            "text": said,
            "audio": [one.sound for one in utterances],
            "vision": [reading.faces_of(one, self.film) for one in utterances],
        }
        with beside(
            lambda modality: self._encode_one(modality, utterances, given[modality]), self.encoders
        ) as done:
            for _ in done:
                pass

    def _encode_one(self, modality: str, utterances: Sequence[Utterance], given: Sequence[Any]) -> None:
        encoder = self.encoders[modality]
        there = [(one, each) for one, each in zip(utterances, given, strict=True) if each is not None]
        inputs = [each for _, each in there]
        encoded = zip(features(encoder, inputs), packing.units(encoder, inputs), strict=True)
        for (one, _), (values, units) in zip(there, encoded, strict=True):
            one.features[modality] = Encoded(values.astype(encoder.stored).astype(np.float32), units)

    def _read_one(
        self,
        reader: reading.Reader,
        texts: Texts,
        cut: bool | None,
        left: threading.Event,
        tell: Progress | None,
        recording: Recording,
    ) -> list[Utterance]:
        """The utterances of a recording, with what is known to be said in them."""
        said, found = transcripts.cues(recording, texts), []
        for one in reader.read(recording, cut):
            found.append(one)
            if left.is_set():
                break
            if tell:
                tell(len(found), 0, f"reading {recording.path.name}: {one.end:.0f} s")
        spans = [(one.start, one.end) for one in found]
        shared = [said] if len(found) == 1 else transcripts.share(said, spans)
        for one, own in zip(found, shared, strict=True):
            one.text = " ".join(cue.text for cue in own)
            one.speaker = next((cue.speaker for cue in own if cue.speaker), "")
        return found

    def write_down(self, one: Utterance, asr: Callable[[np.ndarray], str] | None) -> None:
        """Complete the words, if they are not known; say which modalities this model cannot read."""
        if not one.text.strip() and asr is not None and one.sound is not None:
            one.text = asr(one.sound.samples).strip()
        if not one.text.strip():
            one.text, one.missing["text"] = "", transcripts.NO_WORDS
        for modality in self.modalities:
            if modality not in self.encoders:
                one.missing[modality] = "this model has no encoder that can read it"

    def _encoder(self, modality: str, about: dict[str, Any]) -> Encoder | None:
        """The encoder that the network was trained with, computed by the engine."""
        built = naming.restore(modality, about, self.folder)
        return built and ENGINES[self.engine].encoder(self.folder, modality, built)

    def _choose(self, scorer: speaking.Scorer | None) -> raw.Choose:
        """Whose face is looked at: the speaker's by lip-sync, the largest where it is off, or nobody's."""
        if self._picture == "frame":
            return lambda tracks, sound: None
        return lambda tracks, sound: speaking.choose(tracks, sound, scorer)


def _say(read: Sequence[Utterance], words: Sequence[str] | None) -> None:
    for one, text in zip(read, words or (), strict=False):
        one.text = text


def _refuse_nothing(read: Sequence[Utterance], asked: Sequence[Recording]) -> None:
    """A recording without anything in it is a row with everything missing; if there is nothing else, a mistake."""
    if all({"audio", "vision"} <= set(one.missing) and not one.text.strip() for one in read):
        reasons = dict.fromkeys(reason for one in read[:1] for reason in one.missing.values())
        raise Problem(f"{asked[0].path}: {', '.join(reasons)}; there is nothing to predict from")

"""A predictor as the page needs it: clips under the users' own names, faces small, reasons beside."""

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from merc import media, tracks
from merc.problem import Problem
from merc.serve import outputs, transcripts
from merc.serve.dialogue import Dialogue, Utterance
from merc.serve.jobs import PREFIX, Job, Limits
from merc.serve.predictor import Predictor
from merc.serve.reasons import Reasons
from merc.serve.uploads import TooLarge

READING = 0.8  # of the progress bar; the rest is encoding
FACE = 144  # pixels
NAMES = {"text": "words", "audio": "sound", "vision": "faces"}


class Showing:
    """What merc/serve/web.py calls a Model."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits, self.reasons = predictor, limits, Reasons(predictor)
        self.about = {
            "modalities": list(predictor.modalities),
            "labels": predictor.labels,
            "told": f"This model looks at {_listed([NAMES.get(m, m) for m in predictor.modalities])}.",
        }

    def read(self, job: Job) -> Dialogue:
        """Decode and encode a job's clips; its utterances are called as its clips are."""
        _refuse_long(job, self.limits)
        names = {clip.path.name: clip.name for clip in job.clips}

        def told(done: int, total: int, what: str) -> None:
            for path, name in names.items():
                what = what.replace(path, name)
            share = done / total if total else 0.0
            share = READING + (1 - READING) * share if what == "encoding" else READING * share
            job.told(f"{what[0].upper()}{what[1:]}", share)

        paths = [clip.path for clip in job.clips]
        dialogue = self.predictor.read(paths, texts=_words(job), cut=job.cut, progress=told)
        _name(dialogue, job)
        return dialogue

    def view(self, dialogue: Dialogue) -> list[dict[str, Any]]:
        """Beside the answers: where an utterance lies in which clip, and what is missing or was done to it."""
        clips = list(dict.fromkeys(one.source for one in dialogue))
        return [
            {
                "clip": clips.index(one.source),
                "begin": round(one.start, 3),
                "end": round(one.end, 3),
                "picture": bool(one.frame),
                "missing": one.missing,
                "notes": one.notes,
            }
            for one in dialogue
        ]

    def answer(self, dialogue: Dialogue, hide: tuple[str, ...]) -> list[dict[str, Any]]:
        """A row for every utterance."""
        return self.predictor.answer(dialogue, hide)

    def explain(self, dialogue: Dialogue, number: int, hide: tuple[str, ...]) -> dict[str, Any]:
        """What made the answer (merc/serve/reasons.py)."""
        return self.reasons.of(dialogue, number, hide)

    def subtitles(self, dialogue: Dialogue, rows: list[dict[str, Any]]) -> str:
        """SubRip."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            file = Path(folder) / "emotions.srt"
            outputs.write_srt(file, rows, dialogue)
            return file.read_text(encoding="utf-8")

    def picture(self, dialogue: Dialogue, number: int, whole: bool) -> bytes:
        """The speaker's face as JPEG, or the whole picture; empty where there is none."""
        one = dialogue.utterances[number]
        if whole or not one.frame:
            return one.frame
        return _face(one) or one.thumbnail(FACE)


def _refuse_long(job: Job, limits: Limits) -> None:
    seconds = sum(media.seconds(clip.path) or 0.0 for clip in job.clips)
    if seconds > limits.seconds:
        raise TooLarge(
            f"{job.clips[0].name}{' and the others' if job.clips[1:] else ''}: {seconds / 60:.1f} minutes; at most "
            f"{limits.seconds / 60:g} can be read here: choose a part, or use `python -m merc predict`"
        )
    if not all(clip.path.is_file() for clip in job.clips):
        raise Problem("a clip is no longer there; choose it again")


def _words(job: Job) -> Path:
    """What is said, as a table beside the clips; subtitles keep their times."""
    file = job.folder / "words.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["file", "speaker", "start", "end", "text"])
        for clip in job.clips:
            cues = transcripts.subtitles(clip.text) or [transcripts.Cue(clip.text)]
            for cue in cues:
                writer.writerow([clip.path.name, cue.speaker or clip.speaker, cue.start, cue.end, cue.text])
    return file


def _name(dialogue: Dialogue, job: Job) -> None:
    """From 003#2 to party.mp4#2; clips of one name are told apart by their place."""
    speakers = {clip.path: clip.speaker for clip in job.clips}
    names = [clip.name for clip in job.clips]
    own = {
        clip.path: clip.name if names.count(clip.name) == 1 else f"{number}. {clip.name}"
        for number, clip in enumerate(job.clips, start=1)
    }
    for one in dialogue:
        part = one.name.partition("#")
        one.speaker = one.speaker or speakers[Path(one.source)]  # whose words are not known
        one.name = f"{own.get(Path(one.source), part[0])}{part[1]}{part[2]}"


def _face(one: Utterance) -> bytes:
    face = one.face
    if face is None:
        return b""
    middle = face.crops[np.abs(face.frames / tracks.RATE - one.seconds / 2).argmin()]
    return tracks.encode(middle)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)

"""Extracts the files of each utterance from its clip: sound, a portrait, face tracks, word times.

A medium that cannot be extracted is missing, with a reason. Whatever goes wrong with a clip costs that clip alone.
"""

import json
import os
import platform
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from merc.data.records.listing import Listing, Utterance
from merc.data.records.manifest import MISSING
from merc.encoders.pretrained import transcription
from merc.media import clip_reader, speech_recognition
from merc.media.alignment import word_times
from merc.media.alignment.word_times import UNALIGNED
from merc.media.extraction import processing
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.media.images import Pictures
from merc.media.sound import ClipSound, add_flag
from merc.runtime import workers
from merc.runtime.errors import UserError

CLIP_TIMEOUT = 180.0  # timeout of a clip, whose decoder is then taken to hang
NO_FACE = "no_face"
RECOGNISED, NO_WORDS = "recognised", "no words were heard"
# a run with more clips than this that fail in an unforeseen way has a fault of its own, and stops
MAX_FAILED_SHARE, MIN_FAILED = 0.2, 5


@dataclass(frozen=True)
class ExtractionJob:
    """One utterance to extract into a folder."""

    utterance: Utterance
    settings: ExtractionConfig
    folder: Path


@dataclass
class MediumResult:
    """The result of extracting an utterance's sound or its pictures."""

    files: dict[str, str] = field(default_factory=dict)  # manifest column -> path below the split's folder
    frame_series: list[str] = field(default_factory=list)  # paths of the pictures at extract.video.fps
    status: str = MISSING
    reason: str = ""
    start: float = 0.0  # seconds of the clip at which the file begins


def extract_all(listing: Listing, settings: ExtractionConfig, folder: Path) -> list[dict[str, Any]]:
    """The outcome of every utterance, in order; reuses those that an earlier run finished in this folder."""
    jobs = [ExtractionJob(utterance, settings, folder) for utterance in listing.utterances]
    finished = {index: outcome for index, job in enumerate(jobs) if (outcome := _finished(job)) is not None}
    unfinished = [index for index in range(len(jobs)) if index not in finished]
    if len(unfinished) < len(jobs):
        print(f"extract: {len(jobs) - len(unfinished)} of {len(jobs)} utterances were finished by an earlier run")
    results = workers.run(
        [jobs[index] for index in unfinished], _extract_or_fail, label="extract", seconds=CLIP_TIMEOUT
    )
    failures = [result for result in results if isinstance(result, workers.JobFailure)]
    if len(failures) >= MIN_FAILED and len(failures) > MAX_FAILED_SHARE * len(jobs):
        sys.exit(f"extract: stops: {len(failures)} of {len(jobs)} clips failed; the first: {failures[0].reason}")
    for index, result in zip(unfinished, results, strict=True):
        finished[index] = _failed(result) if isinstance(result, workers.JobFailure) else result
    return [finished[index] for index in range(len(jobs))]


def check_asr(listing: Listing) -> None:
    """Refuse weights that write speech down but are not there, before any clip is opened."""
    for name, language in sorted({(one.asr, one.language) for one in listing.utterances if one.asr}):
        transcription.load_transcriber(name, language)


def _extract_or_fail(job: ExtractionJob) -> dict[str, Any] | workers.JobFailure:
    """The outcome of an utterance; an exception that nobody foresaw becomes its reason."""
    try:
        return extract_utterance(job)
    except UserError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())
        return workers.JobFailure(
            f"{type(error).__name__} in {Path(place.filename).name} line {place.lineno}: {message}"
        )


def extract_utterance(job: ExtractionJob) -> dict[str, Any]:
    """Write an utterance's files and, last of all, its outcome as JSON; returns the outcome."""
    sound, pictures = _read(job)
    sound = processing.process_sound(sound, job.settings)
    outcome: dict[str, Mapping[str, Any]] = {
        "audio": asdict(_save_sound(job, sound)),
        "vision": asdict(_save_pictures(job, pictures)),
    }
    recognised = _write_down(job.utterance, sound)
    text = job.utterance.text or recognised
    outcome["text"] = {**word_times.align_words(text, sound, job.settings.align), "recognised": recognised}
    _write(job, _outcome_path(job), json.dumps(outcome).encode())
    return outcome


def _write_down(utterance: Utterance, sound: ClipSound) -> str:
    """The words that the reader asks to be written down; empty if it asks for none or none are heard."""
    if not utterance.asr or utterance.text or sound.samples is None:
        return ""
    asr = transcription.load_transcriber(utterance.asr, utterance.language)
    return speech_recognition.words_in(sound.samples, asr)


def _read(job: ExtractionJob) -> tuple[ClipSound, Pictures]:
    utterance, settings = job.utterance, job.settings
    limits = clip_reader.Limits(settings.audio.min_seconds, settings.audio.max_seconds)
    ticks = processing.decodes_all_pictures(settings)
    sound, pictures = ClipSound(reason=utterance.absent), Pictures(reason=utterance.absent)
    if utterance.media is not None:
        sound, pictures = clip_reader.read_clip(utterance.media, limits, ticks, utterance.window)
    if utterance.sound is not None:
        sound, _ = clip_reader.read_clip(utterance.sound, limits, ticks=False)
    return sound, pictures


def _save_sound(job: ExtractionJob, sound: ClipSound) -> MediumResult:
    if sound.samples is None:
        return MediumResult(reason=sound.reason)
    wav = _write(job, f"audio/{job.utterance.name}.wav", clip_reader.wav_bytes(sound.samples))
    return MediumResult({"wav": wav}, [], ",".join(sound.flags) or "ok", sound.reason, sound.start)


def _save_pictures(job: ExtractionJob, pictures: Pictures) -> MediumResult:
    """Write frames/<utterance>.jpg, tracks/<utterance>.safetensors and frames/<utterance>/<number>.jpg."""
    if pictures.middle is None:
        return MediumResult(reason=pictures.reason)
    name, files = job.utterance.name, {}
    processed = processing.process_pictures(pictures, job.settings)
    if processed.tracks is not None:
        files["tracks"] = _write(job, f"tracks/{name}.safetensors", processed.packed_tracks)
    if processed.tracks == []:
        add_flag(pictures, NO_FACE, processed.no_face)
    files["frame"] = _write(job, f"frames/{name}.jpg", processed.frame)
    series = [
        _write(job, f"frames/{name}/{number:04}.jpg", jpeg) for number, jpeg in enumerate(processed.frame_series)
    ]
    return MediumResult(files, series, ",".join(pictures.flags) or "ok", pictures.reason)


def _write(job: ExtractionJob, name: str, content: bytes) -> str:
    """Write to a temporary file and rename it, so that no file is incomplete; returns `name`."""
    # machines may share the folder, and containers have the same host name and process numbers
    temporary = job.folder / f"temporary-{platform.node()}-{os.getpid()}-{uuid4().hex}"
    target = job.folder / job.utterance.split / name
    try:
        temporary.write_bytes(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
    except OSError as error:  # a full or read-only disk is not the clip's fault
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    return name


def _outcome_path(job: ExtractionJob) -> str:
    """Path of the outcome's file below the split's folder."""
    return f"../done/{job.utterance.split}/{job.utterance.name}.json"


def _finished(job: ExtractionJob) -> dict[str, Any] | None:
    """The outcome of an earlier run, if all its files still exist."""
    split_folder = job.folder / job.utterance.split
    if not (split_folder / _outcome_path(job)).is_file():
        return None
    outcome = json.loads((split_folder / _outcome_path(job)).read_text(encoding="utf-8"))
    media = (outcome["audio"], outcome["vision"])
    names = [name for medium in media for name in [*medium["files"].values(), *medium["frame_series"]]]
    return outcome if all((split_folder / name).is_file() for name in names) else None


def _failed(failure: workers.JobFailure) -> dict[str, Any]:
    reason = f"given up: {failure.reason}"
    medium = asdict(MediumResult(reason=reason))
    return {"audio": medium, "vision": medium, "text": {"words": None, "reason": "", "recognised": ""}}


LABEL_COLUMNS = ("emotion", "sentiment", "intensity")


def label_rows(corpus: str, listing: Listing) -> pd.DataFrame:
    """The labels of the listing's utterances, before their media are read."""
    columns = ("split", "emotion", "sentiment")
    return pd.DataFrame(
        {"corpus": corpus, **{name: getattr(utterance, name) for name in columns}, **utterance.labels}
        for utterance in listing.utterances
    )


def manifest_rows(corpus: str, listing: Listing, outcomes: list[dict[str, Any]]) -> pd.DataFrame:
    """The manifest's rows, in the listing's order."""
    table, turn, previous = [], 0, None
    for utterance, outcome in zip(listing.utterances, outcomes, strict=True):
        turn = turn + 1 if previous == (utterance.split, utterance.dialogue) else 0
        previous = (utterance.split, utterance.dialogue)
        table.append(_row(corpus, turn, utterance, outcome))
    return pd.DataFrame(table)


def _row(corpus: str, turn: int, utterance: Utterance, outcome: dict[str, Any]) -> dict[str, Any]:
    copied = ("split", "dialogue", "group", "speaker", "source", "start", "end", "clip", *LABEL_COLUMNS)
    files = outcome["audio"]["files"] | outcome["vision"]["files"]
    return {
        "corpus": corpus,
        "turn": turn,
        "utterance": utterance.name,
        **{name: getattr(utterance, name) for name in copied},
        **utterance.labels,
        "text": utterance.text or outcome["text"]["recognised"],
        **{column: files.get(column) for column in ("wav", "frame", "tracks")},
        "wav_start": outcome["audio"]["start"] if "wav" in files else None,
        "words": outcome["text"]["words"],
        **_text(utterance, outcome["text"]),
        **{f"{m}_{key}": outcome[m][key] for m in ("audio", "vision") for key in ("status", "reason")},
    }


def _text(utterance: Utterance, outcome: Mapping[str, Any]) -> dict[str, str]:
    """The text's status and reason, which say whether it was written down, and why words have no times."""
    unaligned, recognised = outcome["reason"], outcome["recognised"]
    if not utterance.text and not recognised:
        return {"text_status": MISSING, "text_reason": NO_WORDS if utterance.asr else "no text"}
    written = f"written down by {utterance.asr}, not given" if recognised else ""
    repaired = f"{utterance.num_repaired} characters read as cp1252" if utterance.num_repaired else ""
    flags = ((RECOGNISED, written), ("repaired", repaired), (UNALIGNED, unaligned))
    notes = {flag: reason for flag, reason in flags if reason}
    return {"text_status": ",".join(notes) or "ok", "text_reason": "; ".join(notes.values())}

"""From a clip to files: sound, a picture, face tracks; what cannot be had is missing, with the reason."""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from merc import faces, facetracks, media, portraits, speech, tracks, work
from merc.corpora import Listing, Utterance
from merc.manifest import MISSING
from merc.params import Strict
from merc.pictures import Pictures
from merc.problem import Problem
from merc.sound import Sound

CLIP_SECONDS = 180.0  # then a clip's decoder is taken to hang
PICTURE_QUALITY = 92  # of JPEG
NO_FACE = "no_face"
LABELS = ("emotion", "sentiment", "intensity")


class AudioSettings(Strict):
    """Section `extract.audio`."""

    min_seconds: float
    max_seconds: float
    vad: str


class VideoSettings(Strict):
    """Section `extract.video`."""

    frame: str
    fps: float
    side: int


class FaceSettings(Strict):
    """Section `extract.faces`."""

    detector: str
    size: int


class Settings(Strict):
    """Section `extract` of params.yaml."""

    audio: AudioSettings
    video: VideoSettings
    faces: FaceSettings


@dataclass(frozen=True)
class Job:
    """One utterance to extract below a folder."""

    utterance: Utterance
    settings: Settings
    folder: Path


@dataclass
class Medium:
    """What came of an utterance's sound, or of its pictures."""

    files: dict[str, str] = field(default_factory=dict)  # manifest column -> path below the split's folder
    series: list[str] = field(default_factory=list)  # pictures at extract.video.fps, same
    status: str = MISSING
    reason: str = ""


def check(settings: Settings) -> None:
    """Refuse values that no type can refuse."""
    _choose("faces.detector", settings.faces.detector, faces.DETECTORS)
    _choose("video.frame", settings.video.frame, portraits.PORTRAITS)
    _choose("audio.vad", settings.audio.vad, speech.DETECTORS)
    speech.check(settings.audio.vad)
    if not 0 < settings.audio.min_seconds <= settings.audio.max_seconds:
        raise Problem("params.yaml: extract.audio: 0 < min_seconds <= max_seconds is needed")
    if not 0 <= settings.video.fps <= tracks.RATE:
        raise Problem(f"params.yaml: extract.video.fps = {settings.video.fps}: 0 to {tracks.RATE:g}")
    if settings.video.side < 8:
        raise Problem(f"params.yaml: extract.video.side = {settings.video.side}: at least 8 pixels")
    if settings.faces.size < 8:
        raise Problem(f"params.yaml: extract.faces.size = {settings.faces.size}: at least 8 pixels")


def _choose(key: str, value: str, table: dict[str, Any]) -> None:
    if value not in table:
        raise Problem(f"params.yaml: extract.{key} = {value!r}: choose one of {', '.join(table)}")


def extract_all(listing: Listing, settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """The outcome of every utterance, in order; what an earlier run finished in this folder is kept."""
    jobs = [Job(utterance, settings, folder) for utterance in listing.utterances]
    finished = [_finished(job) for job in jobs]
    waiting = [index for index, outcome in enumerate(finished) if outcome is None]
    if len(waiting) < len(jobs):
        print(f"extract: {len(jobs) - len(waiting)} of {len(jobs)} utterances were finished by an earlier run")
    results = work.run([jobs[index] for index in waiting], extract, label="extract", seconds=CLIP_SECONDS)
    for index, result in zip(waiting, results, strict=True):
        finished[index] = _lost(result) if isinstance(result, work.Failed) else result
    return finished


def extract(job: Job) -> dict[str, Any]:
    """Write an utterance's files, and last of all the outcome that says so."""
    sound, pictures = _read(job)
    outcome = {"audio": asdict(_save_sound(job, sound)), "vision": asdict(_save_pictures(job, pictures))}
    _write(job, _done(job), json.dumps(outcome).encode())
    return outcome


def _read(job: Job) -> tuple[Sound, Pictures]:
    utterance, settings = job.utterance, job.settings
    limits = media.Limits(settings.audio.min_seconds, settings.audio.max_seconds)
    ticks = faces.DETECTORS[settings.faces.detector] is not None or settings.video.fps > 0
    sound, pictures = Sound(reason=utterance.absent), Pictures(reason=utterance.absent)
    if utterance.media is not None:
        sound, pictures = media.read(utterance.media, limits, ticks, utterance.window)
    if utterance.sound is not None:
        sound, _ = media.read(utterance.sound, limits, ticks=False)
    return sound, pictures


def _save_sound(job: Job, sound: Sound) -> Medium:
    if sound.samples is None:
        return Medium(reason=sound.reason)
    if (detector := speech.DETECTORS[job.settings.audio.vad]) is not None:
        sound = speech.silence(sound, detector)
    wav = _write(job, f"audio/{job.utterance.name}.wav", media.wav(sound.samples))
    return Medium({"wav": wav}, [], ",".join(sound.flags) or "ok", sound.reason)


def _save_pictures(job: Job, pictures: Pictures) -> Medium:
    if pictures.middle is None:
        return Medium(reason=pictures.reason)
    name, settings, files = job.utterance.name, job.settings, {}
    followed = []
    if (detector := faces.DETECTORS[settings.faces.detector]) is not None:
        followed = facetracks.follow(pictures, detector, settings.faces.size)
        files["tracks"] = _write(job, f"tracks/{name}.safetensors", tracks.pack(followed))
        if not followed:
            pictures.flags.append(NO_FACE)
    portrait = portraits.PORTRAITS[settings.video.frame](pictures, followed)
    files["frame"] = _write(job, f"frames/{name}.jpg", tracks.encode(portrait, PICTURE_QUALITY))
    return Medium(files, _save_series(job, pictures), ",".join(pictures.flags) or "ok", pictures.reason)


def _save_series(job: Job, pictures: Pictures) -> list[str]:
    """frames/<utterance>/<number>.jpg: the picture at number / fps seconds."""
    video, written = job.settings.video, []
    for number in range(math.floor(len(pictures.ticks) / tracks.RATE * video.fps)):
        index = max(round(number / video.fps * tracks.RATE) - pictures.first, 0)
        picture = portraits.shrink(pictures.ticks[index], video.side)
        name = f"frames/{job.utterance.name}/{number:04}.jpg"
        written.append(_write(job, name, tracks.encode(picture, PICTURE_QUALITY)))
    return written


def _write(job: Job, name: str, content: bytes) -> str:
    """Write aside and rename: what has its name is whole."""
    aside = job.folder / f"aside-{os.getpid()}"
    aside.write_bytes(content)
    target = job.folder / job.utterance.split / name
    target.parent.mkdir(parents=True, exist_ok=True)
    aside.replace(target)
    return name


def _done(job: Job) -> str:
    return f"../done/{job.utterance.split}/{job.utterance.name}.json"


def _finished(job: Job) -> dict[str, Any] | None:
    """The outcome of an earlier run, if all its files are still here."""
    home = job.folder / job.utterance.split
    if not (home / _done(job)).is_file():
        return None
    outcome = json.loads((home / _done(job)).read_text(encoding="utf-8"))
    names = [name for medium in outcome.values() for name in [*medium["files"].values(), *medium["series"]]]
    return outcome if all((home / name).is_file() for name in names) else None


def _lost(failed: work.Failed) -> dict[str, Any]:
    medium = asdict(Medium(reason=f"given up: {failed.reason}"))
    return {"audio": medium, "vision": medium}


def rows(corpus: str, listing: Listing, outcomes: list[dict[str, Any]]) -> pd.DataFrame:
    """The manifest's rows, in the listing's order."""
    table, turn, before = [], 0, None
    for utterance, outcome in zip(listing.utterances, outcomes, strict=True):
        turn = turn + 1 if before == (utterance.split, utterance.dialogue) else 0
        before = (utterance.split, utterance.dialogue)
        table.append(_row(corpus, turn, utterance, outcome))
    return pd.DataFrame(table)


def _row(corpus: str, turn: int, utterance: Utterance, outcome: dict[str, Any]) -> dict[str, Any]:
    shared = ("split", "dialogue", "group", "speaker", "text", "source", "start", "end", "clip", *LABELS)
    files = outcome["audio"]["files"] | outcome["vision"]["files"]
    return {
        "corpus": corpus,
        "turn": turn,
        "utterance": utterance.name,
        **{name: getattr(utterance, name) for name in shared},
        **{column: files.get(column) for column in ("wav", "frame", "tracks")},
        "text_status": (",".join(utterance.text_flags) or "ok") if utterance.text else MISSING,
        "text_reason": utterance.text_reason if utterance.text else "no text",
        **{f"{medium}_{key}": outcome[medium][key] for medium in outcome for key in ("status", "reason")},
    }

"""From a clip to files: sound, a picture, face tracks; what cannot be had is missing, with the reason."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from merc import faces, facetracks, media, portraits, speech, timing, tracks, work
from merc.corpora import Listing, Utterance
from merc.extraction_settings import Settings, VideoSettings
from merc.manifest import MISSING
from merc.pictures import Pictures
from merc.sound import Sound

CLIP_SECONDS = 180.0  # then a clip's decoder is taken to hang
PICTURE_QUALITY = 92  # of JPEG
NO_FACE = "no_face"


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
    start: float = 0.0  # seconds of the clip at which its file begins


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
    if sound.samples is not None:
        audio = job.settings.audio
        sound = speech.listen(sound, speech.DETECTORS[audio.vad], audio.trim, audio.min_seconds)
    outcome = {"audio": asdict(_save_sound(job, sound)), "vision": asdict(_save_pictures(job, pictures))}
    outcome["text"] = timing.words(job.utterance.text, sound, job.settings.align)
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
    wav = _write(job, f"audio/{job.utterance.name}.wav", media.wav(sound.samples))
    return Medium({"wav": wav}, [], ",".join(sound.flags) or "ok", sound.reason, sound.start)


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
    return [
        _write(job, f"frames/{job.utterance.name}/{number:04}.jpg", coded)
        for number, coded in enumerate(series(pictures, job.settings.video))
    ]


def series(pictures: Pictures, video: VideoSettings) -> Iterator[bytes]:
    """The JPEGs at extract.video.fps: the n-th is at n / fps seconds."""
    for number in range(math.floor(len(pictures.ticks) / tracks.RATE * video.fps)):
        index = max(round(number / video.fps * tracks.RATE) - pictures.first, 0)
        yield tracks.encode(portraits.shrink(pictures.ticks[index], video.side), PICTURE_QUALITY)


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
    media = (outcome["audio"], outcome["vision"])
    names = [name for medium in media for name in [*medium["files"].values(), *medium["series"]]]
    return outcome if all((home / name).is_file() for name in names) else None


def _lost(failed: work.Failed) -> dict[str, Any]:
    reason = f"given up: {failed.reason}"
    medium = asdict(Medium(reason=reason))
    return {"audio": medium, "vision": medium, "text": timing.Timed(words=None, reason="")}

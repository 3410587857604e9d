"""Queue of the page's jobs: each reads one user's clips in a folder of its own, and is deleted after a while."""

import secrets
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from merc.runtime.errors import UserError
from merc.serve.predictor.recording_files import MEDIA_SUFFIXES

PREFIX = "merc-serve-"
LOCK_FILE = "alive.lock"  # lock file in a server's folder, held as long as the server runs
# minimum age of a folder to delete: the server of a younger one may not hold its lock yet
MIN_AGE_SECONDS = 60.0
UNEXPECTED = "this went wrong for a reason that merc did not foresee; the terminal where it runs shows it"


@dataclass(frozen=True)
class PageLimits:
    """Limits for the page's users; the page gets them as JSON under these names."""

    clips: int = 100  # per job
    clip_bytes: int = 500_000_000
    job_bytes: int = 1_000_000_000
    seconds: float = 900.0  # per job, by the clips' headers
    text: int = 200_000  # characters per clip, enough for a film's subtitles
    waiting: int = 20  # jobs not yet read, of all users
    kept: int = 50  # jobs in memory, of all users; beyond that the least recently used is forgotten
    idle: float = 1800.0  # seconds without a request until a job is forgotten


@dataclass
class JobClip:
    """One media file of a job; the user's `name` is only displayed, never used as a path."""

    name: str
    text: str
    path: Path
    speaker: str = ""
    has_arrived: bool = False


class JobForgotten(Exception):
    """Raised in the reader's thread to stop reading a job that has been forgotten."""


@dataclass
class PageJob:
    """One dialogue of one user."""

    session: str
    folder: Path
    clips: list[JobClip]
    cut: bool | None
    is_uploaded: bool = True  # False for an example, whose clips are not the job's to delete
    name: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    state: str = "open"  # open -> waiting -> reading -> ready | failed
    step: str = ""
    progress: float = 0.0  # of the reading, 0 to 1
    error: str = ""
    dialogue: Any = None
    is_forgotten: bool = False
    last_used: float = field(default_factory=time.monotonic)
    explanations: dict[tuple, Any] = field(default_factory=dict)

    def report(self, step: str, progress: float) -> None:
        """Store the progress of reading; stop it if the job has been forgotten."""
        if self.is_forgotten:
            raise JobForgotten
        self.step, self.progress = step, progress

    def discard(self) -> None:
        """Delete the uploaded files."""
        shutil.rmtree(self.folder, ignore_errors=True)


class JobQueue:
    """All jobs; one thread reads, another predicts, so that a long video does not block other users' requests."""

    def __init__(self, read: Callable[[PageJob], Any], limits: PageLimits, base: Path | None = None) -> None:
        self.read, self.limits = read, limits
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))  # mode 0700: readable by its owner only
        self.alive = FileLock(self.folder / LOCK_FILE, thread_local=False)
        self.alive.acquire()
        self.jobs: dict[str, PageJob] = {}
        self.lock = threading.Lock()
        self.reader, self.answerer = ThreadPoolExecutor(1, "reader"), ThreadPoolExecutor(1, "answerer")

    def open(self, session: str, clips: list[tuple[str, str, str]], cut: bool | None) -> PageJob:
        """Add a job for clips to be uploaded, given as (name, text, speaker)."""
        self._make_room()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        job_clips = [
            JobClip(name, text, folder / f"{number:03}{_safe_suffix(name)}", speaker)
            for number, (name, text, speaker) in enumerate(clips)
        ]
        return self._add(PageJob(session, folder, job_clips, cut))

    def open_example(self, session: str, clips: list[JobClip], cut: bool | None) -> PageJob:
        """Add a job for clips of an example, which are not deleted."""
        self._make_room()
        return self._add(PageJob(session, Path(tempfile.mkdtemp(dir=self.folder)), clips, cut, is_uploaded=False))

    def find(self, session: str, name: str) -> PageJob | None:
        """The job of this name if it belongs to the session."""
        job = self.jobs.get(name)
        if job is None or not secrets.compare_digest(job.session, session):
            return None
        job.last_used = time.monotonic()
        return job

    def start(self, job: PageJob) -> None:
        """Queue the job's clips for reading."""
        job.state = "waiting"
        self.reader.submit(self._work, job)

    def num_before(self, job: PageJob) -> int:
        """Number of jobs that are read before this one."""
        queued = [other for other in self._all() if other.state in ("waiting", "reading")]
        return queued.index(job) if job in queued else 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run a short function on the thread for predictions."""
        return self.answerer.submit(function, *arguments)

    def forget(self, job: PageJob) -> None:
        """Delete a job, its files and its predictions; stop reading it."""
        job.is_forgotten = True
        with self.lock:
            self.jobs.pop(job.name, None)
        if job.state != "reading":  # else the reader's thread deletes the files when it stops
            job.discard()

    def expire(self) -> None:
        """Forget jobs that have not been used for `limits.idle` seconds."""
        for job in self._all():
            if time.monotonic() - job.last_used > self.limits.idle and job.state not in ("waiting", "reading"):
                self.forget(job)

    def close(self) -> None:
        """Forget all jobs, stop the threads and delete the folder."""
        for job in self._all():
            self.forget(job)
        self.reader.shutdown(cancel_futures=True)
        self.answerer.shutdown(cancel_futures=True)
        self.alive.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[PageJob]:
        with self.lock:
            return list(self.jobs.values())

    def _add(self, job: PageJob) -> PageJob:
        with self.lock:
            self.jobs[job.name] = job
        return job

    def _make_room(self) -> None:
        if sum(job.state in ("open", "waiting", "reading") for job in self._all()) >= self.limits.waiting:
            raise UserError("too many videos are waiting to be read; try again in a minute")
        finished = [job for job in self._all() if job.state in ("ready", "failed")]
        num_excess = max(len(self.jobs) + 1 - self.limits.kept, 0)
        for job in sorted(finished, key=lambda job: job.last_used)[:num_excess]:
            self.forget(job)

    def _work(self, job: PageJob) -> None:
        """Read a job in the reader's thread, and delete its files in any case."""
        if job.is_forgotten:
            return
        job.state = "reading"
        try:
            job.dialogue = self.read(job)
            job.state = "ready"
        except JobForgotten:
            job.state = "failed"
        except UserError as problem:
            job.error, job.state = _with_user_names(str(problem), job), "failed"
        except Exception:
            traceback.print_exc()
            job.error, job.state = UNEXPECTED, "failed"
        finally:
            job.discard()


def delete_abandoned_folders() -> None:
    """Delete folders of servers that were killed before they could do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if time.time() - folder.stat().st_mtime > MIN_AGE_SECONDS:
                with FileLock(folder / LOCK_FILE, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _safe_suffix(name: str) -> str:
    """Suffix of a user's file name, on which the reader depends, if it is that of a media file, else ".bin"."""
    suffix = "." + name.rsplit(".", 1)[-1].lower()
    return suffix if suffix in MEDIA_SUFFIXES else ".bin"


def _with_user_names(message: str, job: PageJob) -> str:
    """The message with the user's names of the clips instead of the server's paths."""
    for clip in job.clips:
        message = message.replace(str(clip.path), clip.name).replace(clip.path.name, clip.name)
    return message.replace(f"{job.folder}/", "")

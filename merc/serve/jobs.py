"""What the page's users asked for: each job in its own folder and session, read in turn, then forgotten."""

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

from merc.problem import Problem

PREFIX = "merc-serve-"
ALIVE = "alive.lock"  # in a server's folder, held as long as it runs
YOUNG = 60.0  # seconds in which a server may not have locked its folder yet
UNEXPECTED = "this went wrong for a reason that merc did not foresee; the terminal where it runs shows it"

# what a file of films or sounds is called; readers look at it
ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")
ENDINGS += (".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".wma", ".aiff")


@dataclass(frozen=True)
class Limits:
    """What one user may ask for."""

    clips: int = 100  # of one dialogue
    clip_bytes: int = 500_000_000
    job_bytes: int = 1_000_000_000
    seconds: float = 900.0  # of one dialogue, by the clips' headers
    text: int = 200_000  # characters that go with one clip: the subtitles of a film
    waiting: int = 20  # jobs that are not read yet, of all users
    kept: int = 50  # jobs in memory, of all users; then the longest unused one is forgotten
    idle: float = 1800.0  # seconds without a request, then a job is forgotten


@dataclass
class Clip:
    """One file of a job; its own name is only ever shown."""

    name: str
    text: str
    path: Path
    speaker: str = ""
    there: bool = False


class Forgotten(Exception):
    """Stops the reading of a job that nobody waits for."""


@dataclass
class Job:
    """One dialogue of one user."""

    session: str
    folder: Path
    clips: list[Clip]
    cut: bool | None
    own: bool = True  # the clips were uploaded, so that they go
    name: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    state: str = "open"  # open -> waiting -> reading -> ready | failed
    step: str = ""
    share: float = 0.0  # done of the reading, 0 to 1
    error: str = ""
    dialogue: Any = None
    forgotten: bool = False
    touched: float = field(default_factory=time.monotonic)
    explanations: dict[tuple, Any] = field(default_factory=dict)

    def told(self, step: str, share: float) -> None:
        """The reading's progress; ends the reading when the job is forgotten."""
        if self.forgotten:
            raise Forgotten
        self.step, self.share = step, share

    def discard(self) -> None:
        """Delete what was uploaded."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Desk:
    """All jobs. One thread reads, another answers, so that a long video does not stop another user's questions."""

    def __init__(self, read: Callable[[Job], Any], limits: Limits, base: Path | None = None) -> None:
        self.read, self.limits = read, limits
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))  # for nobody else's eyes: mode 0700
        self.alive = FileLock(self.folder / ALIVE, thread_local=False)
        self.alive.acquire()
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        self.reader, self.answerer = ThreadPoolExecutor(1, "reader"), ThreadPoolExecutor(1, "answerer")

    def open(self, session: str, clips: list[tuple[str, str, str]], cut: bool | None) -> Job:
        """A job whose files, (name, text, speaker) each, are still to come."""
        self._make_room()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        named = [
            Clip(name, text, folder / f"{number:03}{_ending(name)}", speaker)
            for number, (name, text, speaker) in enumerate(clips)
        ]
        return self._add(Job(session, folder, named, cut))

    def borrow(self, session: str, clips: list[Clip], cut: bool | None) -> Job:
        """A job of files that are not the user's and stay."""
        self._make_room()
        return self._add(Job(session, Path(tempfile.mkdtemp(dir=self.folder)), clips, cut, own=False))

    def of(self, session: str, name: str) -> Job | None:
        """The session's own job."""
        job = self.jobs.get(name)
        if job is None or not secrets.compare_digest(job.session, session):
            return None
        job.touched = time.monotonic()
        return job

    def start(self, job: Job) -> None:
        """Read the job's clips as soon as those before it are read."""
        job.state = "waiting"
        self.reader.submit(self._work, job)

    def ahead(self, job: Job) -> int:
        """How many jobs are read before this one."""
        before = [other for other in self._all() if other.state in ("waiting", "reading")]
        return before.index(job) if job in before else 0

    def answer(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Something short, about a job that was read."""
        return self.answerer.submit(function, *arguments)

    def forget(self, job: Job) -> None:
        """Delete a job, its files and its answers; one that is being read stops."""
        job.forgotten = True
        with self.lock:
            self.jobs.pop(job.name, None)
        if job.state != "reading":  # else the reader deletes, when it has let go
            job.discard()

    def expire(self) -> None:
        """Forget what nobody asked about for long."""
        for job in self._all():
            if time.monotonic() - job.touched > self.limits.idle and job.state not in ("waiting", "reading"):
                self.forget(job)

    def close(self) -> None:
        """Forget everything and leave nothing behind."""
        for job in self._all():
            self.forget(job)
        self.reader.shutdown(cancel_futures=True)
        self.answerer.shutdown(cancel_futures=True)
        self.alive.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Job]:
        with self.lock:
            return list(self.jobs.values())

    def _add(self, job: Job) -> Job:
        with self.lock:
            self.jobs[job.name] = job
        return job

    def _make_room(self) -> None:
        if sum(job.state in ("open", "waiting", "reading") for job in self._all()) >= self.limits.waiting:
            raise Problem("too many videos are waiting to be read; try again in a minute")
        finished = [job for job in self._all() if job.state in ("ready", "failed")]
        for job in sorted(finished, key=lambda job: job.touched)[: max(len(self.jobs) + 1 - self.limits.kept, 0)]:
            self.forget(job)

    def _work(self, job: Job) -> None:
        """In the reader's thread; afterwards the files are gone, whatever happened."""
        if job.forgotten:
            return
        job.state = "reading"
        try:
            job.dialogue = self.read(job)
            job.state = "ready"
        except Forgotten:
            job.state = "failed"
        except Problem as problem:
            job.error, job.state = _without_paths(str(problem), job), "failed"
        except Exception:
            traceback.print_exc()
            job.error, job.state = UNEXPECTED, "failed"
        finally:
            job.discard()


def sweep() -> None:
    """Delete what servers left that were killed and could not do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if time.time() - folder.stat().st_mtime > YOUNG:
                with FileLock(folder / ALIVE, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _ending(name: str) -> str:
    """Of the user's name for a file only a known ending is kept: readers of subtitles and films look at it."""
    ending = "." + name.rsplit(".", 1)[-1].lower()
    return ending if ending in ENDINGS else ".bin"


def _without_paths(text: str, job: Job) -> str:
    """The sentence with the users' names of their clips instead of ours."""
    for clip in job.clips:
        text = text.replace(str(clip.path), clip.name).replace(clip.path.name, clip.name)
    return text.replace(f"{job.folder}/", "")

"""Queue of the page's jobs: each reads one user's clips in a folder of its own, and is deleted after a while."""

import secrets
import shutil
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from merc.runtime.errors import UserError
from merc.serve.predictor.recording_files import MEDIA_SUFFIXES
from merc.serve.web.quotas import Busy, Client, Turns, address_share, check_share

PREFIX = "merc-serve-"
STARTING_PREFIX = "merc-starting-"  # of a folder whose server does not hold its lock yet
LOCK_FILE = "alive.lock"  # lock file in a server's folder, held as long as the server runs
UNREAD = ("open", "waiting", "reading")
MAX_ERROR_LENGTH = 300  # characters of an error on the page
UNEXPECTED = "this went wrong for a reason that merc did not foresee; the terminal where it runs shows it"


@dataclass(frozen=True)
class PageLimits:
    """Limits for the page's users; the page gets them as JSON under these names."""

    clips: int = 100  # per job
    clip_bytes: int = 500_000_000
    job_bytes: int = 1_000_000_000
    seconds: float = 900.0  # per job, by the clips' headers
    reading: float = 900.0  # seconds that reading a job may take
    text: int = 200_000  # characters per clip, enough for a film's subtitles
    readers: int = 2  # jobs that are read at once, each in a process of its own with one thread
    ready: int = 1  # jobs beyond them that are taken up, so that no process waits for the server's threads
    waiting: int = 64  # jobs not yet read, of all users
    session_waiting: int = 4  # of one browser
    waiting_bytes: int = 20_000_000_000  # of all clips not yet read, as declared
    unsent: float = 60.0  # seconds that a job waits for the next bytes of its clips
    kept: int = 50  # jobs in memory, of all users
    session_kept: int = 10  # of one browser; beyond either the least recently used is forgotten
    idle: float = 1800.0  # seconds without a request until a job is forgotten
    explanations: int = 16  # that wait, of all users
    session_explanations: int = 2  # of one browser


@dataclass
class JobClip:
    """One media file of a job; the user's `name` is only displayed, never used as a path."""

    name: str
    text: str
    path: Path
    speaker: str = ""
    size: int = 0  # bytes, as declared
    has_arrived: bool = False


class JobForgotten(Exception):
    """Raised in the reader's thread to stop reading a job that has been forgotten."""


@dataclass
class PageJob:
    """One dialogue of one user."""

    client: Client
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
    reading: float = float("inf")  # seconds that reading may take, from its first report on
    deadline: float = float("inf")  # when reading must be over
    last_used: float = field(default_factory=time.monotonic)
    last_received: float = field(default_factory=time.monotonic)
    explanations: dict[tuple[int, tuple[str, ...]], Any] = field(default_factory=dict)
    over: Future[None] = field(default_factory=Future)  # done when it has been read, has failed or is forgotten

    def report(self, step: str, progress: float) -> None:
        """Store the progress of reading; stop it if the job has been forgotten or takes too long."""
        if self.is_forgotten:
            raise JobForgotten
        self.deadline = min(self.deadline, time.monotonic() + self.reading)
        if time.monotonic() > self.deadline:
            raise UserError("reading takes too long here; choose a part, or use `python -m merc predict`")
        self.step, self.progress = step, progress

    def end(self) -> None:
        """Wake up who waits for the job."""
        with suppress(InvalidStateError):
            self.over.set_result(None)

    def discard(self) -> None:
        """Delete the uploaded files."""
        shutil.rmtree(self.folder, ignore_errors=True)


class JobQueue:
    """All jobs; threads for reading, predicting and explaining, so that none of these waits for another kind."""

    def __init__(self, read: Callable[[PageJob], Any], limits: PageLimits, base: Path | None = None) -> None:
        self.read, self.limits = read, limits
        self.folder, self.alive = _create_folder(base or Path(tempfile.gettempdir()))
        self.jobs: dict[str, PageJob] = {}
        self.examples: dict[tuple[Any, ...], PageJob] = {}  # the first job that has read each example
        self.lock, self.turns = threading.Lock(), Turns()
        self.reader = ThreadPoolExecutor(limits.readers + limits.ready, "reader")
        self.answerer = ThreadPoolExecutor(1, "answerer")
        self.explainer = ThreadPoolExecutor(1, "explainer")
        self.explaining: list[tuple[PageJob, Future[Any]]] = []

    def open(self, client: Client, clips: list[tuple[str, str, str, int]], cut: bool | None) -> PageJob:
        """Add a job for clips to be uploaded, given as (name, text, speaker, size)."""
        self._make_room(client, sum(size for *_, size in clips))
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        job_clips = [
            JobClip(name, text, folder / f"{number:03}{_safe_suffix(name)}", speaker, size)
            for number, (name, text, speaker, size) in enumerate(clips)
        ]
        return self._add(PageJob(client, folder, job_clips, cut))

    def open_example(self, client: Client, clips: list[JobClip], cut: bool | None) -> PageJob:
        """Add a job for clips of an example, which are not deleted."""
        self._make_room(client, 0)
        return self._add(PageJob(client, Path(tempfile.mkdtemp(dir=self.folder)), clips, cut, is_uploaded=False))

    def find(self, session: str, name: str) -> PageJob | None:
        """The job of this name if it belongs to the session."""
        job = self.jobs.get(name)
        if job is None or not secrets.compare_digest(job.client.session, session):
            return None
        job.last_used = time.monotonic()
        return job

    def start(self, job: PageJob) -> None:
        """Queue the job's clips for reading; an example that has been read is shared by all its jobs."""
        if (known := self.examples.get(_signature(job))) is not None:
            job.dialogue, job.explanations, job.state = known.dialogue, known.explanations, "ready"
            return
        with self.lock:
            self.jobs[job.name] = self.jobs.pop(job.name, job)  # in order of arrival
            job.state = "waiting"
        self.reader.submit(self._work)

    def num_before(self, job: PageJob) -> int:
        """Number of jobs that are read before this one."""
        with self.lock:
            waiting = self._in_turn()
            num_reading = sum(other.state == "reading" for other in self.jobs.values())
        return num_reading + waiting.index(job) if job in waiting else 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run a short function on the thread for predictions."""
        return self.answerer.submit(function, *arguments)

    def explain(self, job: PageJob, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Queue an explanation, which takes seconds; cancel the future to drop it."""
        self.explaining = [(other, future) for other, future in self.explaining if not future.done()]
        held = [other.client for other, _ in self.explaining]
        limits = self.limits
        check_share(
            held, job.client, own=limits.session_explanations, total=limits.explanations, what="explanations"
        )
        future = self.explainer.submit(function, *arguments)
        self.explaining.append((job, future))
        return future

    def forget(self, job: PageJob) -> None:
        """Delete a job, its files and its predictions; stop reading and explaining it."""
        job.is_forgotten = True
        job.end()
        with self.lock:
            self.jobs.pop(job.name, None)
        for other, future in self.explaining:
            if other is job:
                future.cancel()
        if job.state != "reading":  # else the reader's thread deletes the files when it stops
            job.discard()

    def expire(self) -> None:
        """Forget jobs that have not been used for `limits.idle` seconds, or whose clips do not come."""
        now = time.monotonic()
        for job in self._all():
            is_idle = now - job.last_used > self.limits.idle and job.state not in ("waiting", "reading")
            if is_idle or (job.state == "open" and now - job.last_received > self.limits.unsent):
                self.forget(job)

    def close(self) -> None:
        """Forget all jobs, stop the threads and delete the folder."""
        for job in self._all():
            self.forget(job)
        for threads in (self.reader, self.answerer, self.explainer):
            threads.shutdown(cancel_futures=True)
        self.alive.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[PageJob]:
        with self.lock:
            return list(self.jobs.values())

    def _add(self, job: PageJob) -> PageJob:
        with self.lock:
            self.jobs[job.name] = job
        return job

    def _in_turn(self) -> list[PageJob]:
        """Jobs that wait, in the order in which they are due; the caller holds the lock."""
        waiting = [job for job in self.jobs.values() if job.state == "waiting"]
        return [waiting[place] for place in self.turns.order([job.client for job in waiting])]

    def _make_room(self, client: Client, size: int) -> None:
        """Refuse a job of `size` bytes beyond the client's share; forget finished jobs beyond theirs."""
        limits, jobs = self.limits, self._all()
        unread = [job for job in jobs if job.state in UNREAD]
        held = [job.client for job in unread]
        check_share(held, client, own=limits.session_waiting, total=limits.waiting, what="conversations")
        sizes: Counter[str] = Counter()
        for job in unread:
            sizes[job.client.address] += sum(clip.size for clip in job.clips if job.is_uploaded)
        share = address_share(limits.waiting_bytes)
        if sizes[client.address] + size > share or sum(sizes.values()) + size > limits.waiting_bytes:
            raise Busy("too much is waiting to be read; try again in a minute, or choose less")
        finished = sorted((job for job in jobs if job.state not in UNREAD), key=lambda job: job.last_used)
        own = [job for job in finished if job.client.session == client.session]
        for job in own[: max(len(own) + 1 - limits.session_kept, 0)]:
            self.forget(job)
            finished.remove(job)
        for _ in range(min(len(self.jobs) + 1 - limits.kept, len(finished))):
            numbers = Counter(job.client.address for job in finished)
            job = max(finished, key=lambda job: numbers[job.client.address])  # the first, least recently used
            self.forget(job)
            finished.remove(job)

    def _work(self) -> None:
        """Read the job whose turn it is in a reader's thread, and delete its files in any case."""
        with self.lock:
            job = next(iter(self._in_turn()), None)
            if job is None:  # forgotten
                return
            job.state = "reading"
            self.turns.take(job.client)
        job.reading = self.limits.reading
        try:
            signature = _signature(job)
            job.dialogue = self.read(job)
            job.state = "ready"
            if signature:
                self.examples[signature] = job
        except JobForgotten:
            job.state = "failed"
        except UserError as problem:
            job.error, job.state = _with_user_names(str(problem), job), "failed"
        except Exception:
            traceback.print_exc()
            job.error, job.state = UNEXPECTED, "failed"
        finally:
            job.end()
            job.discard()


def _create_folder(base: Path) -> tuple[Path, FileLock]:
    """A server's folder and its lock, held before the folder has the name that others sweep."""
    folder = Path(tempfile.mkdtemp(prefix=STARTING_PREFIX, dir=base))  # mode 0700: readable by its owner only
    alive = FileLock(folder / LOCK_FILE, thread_local=False)
    alive.acquire()
    return folder.rename(base / folder.name.replace(STARTING_PREFIX, PREFIX, 1)), alive


def delete_abandoned_folders() -> None:
    """Delete folders of servers that were killed before they could do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout), FileLock(folder / LOCK_FILE, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


def _signature(job: PageJob) -> tuple[Any, ...]:
    """What an example is known by: its files and when they were written; empty for an upload."""
    if job.is_uploaded or not all(clip.path.is_file() for clip in job.clips):
        return ()
    return tuple((clip.path, clip.path.stat().st_mtime_ns) for clip in job.clips)


def _safe_suffix(name: str) -> str:
    """Suffix of a user's file name, on which the reader depends, if it is that of a media file, else ".bin"."""
    suffix = "." + name.rsplit(".", 1)[-1].lower()
    return suffix if suffix in MEDIA_SUFFIXES else ".bin"


def _with_user_names(message: str, job: PageJob) -> str:
    """The message in one line, with the user's names of the clips instead of the server's paths."""
    for clip in job.clips:
        message = message.replace(str(clip.path), clip.name).replace(clip.path.name, clip.name)
    message = " ".join(message.replace(f"{job.folder}/", "").split())
    return message if len(message) <= MAX_ERROR_LENGTH else message[: MAX_ERROR_LENGTH - 1] + "…"

"""The worker processes of merc.work: who does what, who died, who hangs."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from merc.problem import Problem
from merc.progress import Progress

ATTEMPTS = 2
JOBS_PER_WORKER = 400  # then it is replaced, so that what a native library leaks does not add up
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Failed:
    """What became of a job whose worker died, or ran out of time, twice."""

    reason: str


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    handed: int = 0  # jobs so far
    job: int | None = None
    deadline: float = float("inf")


class Crew:
    """The processes at work on one list of jobs."""

    def __init__(
        self, jobs: Sequence[Any], function: Callable[[Any], Any], seconds: float | None, progress: Progress
    ) -> None:
        self.jobs, self.function, self.seconds, self.progress = jobs, function, seconds, progress
        self.context = multiprocessing.get_context(_start_method())
        self.waiting = deque(range(len(jobs)))
        self.attempts = [0] * len(jobs)
        self.results: dict[int, Any] = {}
        self.crew: list[_Worker] = []

    def work(self, count: int) -> list[Any]:
        """Hand out jobs until every one has a result."""
        self.crew = [self._hire() for _ in range(count)]
        while len(self.results) < len(self.jobs):
            for worker in self.crew:
                if worker.job is None and self.waiting:
                    self._hand_out(worker)
            self._listen()
        return [self.results[index] for index in range(len(self.jobs))]

    def dismiss(self) -> None:
        for worker in self.crew:
            worker.process.kill()
        for worker in self.crew:
            worker.process.join()
            worker.pipe.close()

    def _hire(self) -> _Worker:
        here, there = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(there, self.function, os.getpid()), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here)

    def _hand_out(self, worker: _Worker) -> None:
        worker.job = self.waiting.popleft()
        worker.handed += 1
        self.attempts[worker.job] += 1
        worker.deadline = time.monotonic() + self.seconds if self.seconds else float("inf")
        try:
            worker.pipe.send(self.jobs[worker.job])
        except OSError:
            self._lose(worker, "its worker process died while idle")

    def _listen(self) -> None:
        busy = [worker for worker in self.crew if worker.job is not None]
        if not busy:  # every one died before it got its job
            return
        pause = min(worker.deadline for worker in busy) - time.monotonic()
        ready = wait([worker.pipe for worker in busy], None if pause == float("inf") else max(pause, 0.0))
        for worker in busy:
            if worker.pipe in ready:
                self._receive(worker)
            elif time.monotonic() >= worker.deadline:
                self._lose(worker, f"took longer than {self.seconds:g} s")

    def _receive(self, worker: _Worker) -> None:
        try:
            good, result = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._lose(worker, f"its worker process died ({_exit_word(worker.process.exitcode)})")
            return
        if not good:
            raise result
        self._finish(worker, result)
        if worker.handed >= JOBS_PER_WORKER:
            self._replace(worker)

    def _lose(self, worker: _Worker, reason: str) -> None:
        index = worker.job
        if self.attempts[index] < ATTEMPTS:
            self.waiting.appendleft(index)
        else:
            self._finish(worker, Failed(reason))
        self._replace(worker)

    def _finish(self, worker: _Worker, result: Any) -> None:
        self.results[worker.job] = result
        worker.job, worker.deadline = None, float("inf")
        self.progress.step()

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.crew[self.crew.index(worker)] = self._hire()


def _serve(pipe: Connection, function: Callable[[Any], Any], parent: int) -> None:
    """A worker process: one job at a time, until the pipe closes or the parent is gone."""
    threading.Thread(target=_stop_without, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _use_one_thread()
    while True:
        pipe.send(_attempt(function, pipe.recv()))


def _attempt(function: Callable[[Any], Any], job: Any) -> tuple[bool, Any]:
    try:
        return True, function(job)
    except Problem as problem:
        return False, problem
    except Exception:  # as text: not every exception survives the pipe
        return False, RuntimeError(f"in a worker process:\n{traceback.format_exc()}")


def _use_one_thread() -> None:
    """One thread a process: two busy cores make threaded torch many times slower."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _stop_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(3)


def _start_method() -> str:
    """Fork starts in milliseconds, but is safe on Linux alone, and only before the CUDA driver has been asked.

    To ask whether there is a GPU starts the driver, and a forked process cannot use a driver that its parent
    started. Nobody can tell afterwards whether it was asked; with torch loaded and a GPU there, nothing is forked.
    """
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    return "fork" if sys.platform == "linux" and not has_gpu else "spawn"


def _exit_word(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

"""Parallel map over worker processes that survives a job which crashes or hangs its process."""

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
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from tqdm import tqdm

from merc.runtime import params
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.context import ForkContext, SpawnContext

ATTEMPTS = 2
JOBS_PER_WORKER = 400  # then the process is replaced, so that memory leaks of native libraries do not add up
POLL_SECONDS = 1.0
BAR_SECONDS, LINE_SECONDS = 0.2, 15.0  # least time between updates of the progress: on a terminal, elsewhere
LINE_FORMAT = "{desc}: {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left\n"

tqdm.monitor_interval = 0  # no monitor thread: worker processes are forked


@dataclass(frozen=True)
class JobFailure:
    """Result of a job whose worker process died, or exceeded the time limit, twice."""

    reason: str


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    num_jobs: int = 0  # received so far
    job: int | None = None  # index of the current job
    deadline: float = float("inf")


class WorkerPool:
    """A pool of processes working on one list of jobs."""

    def __init__(
        self, jobs: Sequence[Any], function: Callable[[Any], Any], timeout: float | None, progress: tqdm
    ) -> None:
        self.jobs, self.function, self.timeout, self.progress = jobs, function, timeout, progress
        self.context = cast("ForkContext | SpawnContext", multiprocessing.get_context(_start_method()))
        self.pending = deque(range(len(jobs)))
        self.attempts = [0] * len(jobs)
        self.results: dict[int, Any] = {}
        self.workers: list[_Worker] = []

    def run(self, num_workers: int) -> list[Any]:
        """Run all jobs; results in job order."""
        self.workers = [self._start_worker() for _ in range(num_workers)]
        while len(self.results) < len(self.jobs):
            for worker in self.workers:
                if worker.job is None and self.pending:
                    self._send_job(worker)
            self._wait()
        return [self.results[index] for index in range(len(self.jobs))]

    def shut_down(self) -> None:
        """Kill all worker processes."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()

    def _start_worker(self) -> _Worker:
        parent_end, worker_end = cast("tuple[Connection, Connection]", self.context.Pipe())  # Windows has others
        process = self.context.Process(target=_serve, args=(worker_end, self.function, os.getpid()), daemon=True)
        process.start()
        worker_end.close()
        return _Worker(process, parent_end)

    def _send_job(self, worker: _Worker) -> None:
        worker.job = self.pending.popleft()
        worker.num_jobs += 1
        self.attempts[worker.job] += 1
        worker.deadline = time.monotonic() + self.timeout if self.timeout else float("inf")
        try:
            worker.pipe.send(self.jobs[worker.job])
        except OSError:
            self._fail(worker, "its worker process died while idle")

    def _wait(self) -> None:
        """Wait for the next result, dead worker or deadline, and handle it."""
        busy = [worker for worker in self.workers if worker.job is not None]
        if not busy:  # every worker died before it received its job
            return
        remaining = min(worker.deadline for worker in busy) - time.monotonic()
        ready = wait([worker.pipe for worker in busy], None if remaining == float("inf") else max(remaining, 0.0))
        for worker in busy:
            if worker.pipe in ready:
                self._receive(worker)
            elif time.monotonic() >= worker.deadline:
                self._fail(worker, f"took longer than {self.timeout:g} s")

    def _receive(self, worker: _Worker) -> None:
        try:
            is_ok, result = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._fail(worker, f"its worker process died ({_describe_exit(worker.process.exitcode)})")
            return
        if not is_ok:
            raise result
        self._finish(worker, result)
        if worker.num_jobs >= JOBS_PER_WORKER:
            self._replace(worker)

    def _fail(self, worker: _Worker, reason: str) -> None:
        """Retry the worker's job, or give it up after the last attempt; replace the worker."""
        index = cast("int", worker.job)
        if self.attempts[index] < ATTEMPTS:
            self.pending.appendleft(index)
        else:
            self._finish(worker, JobFailure(reason))
        self._replace(worker)

    def _finish(self, worker: _Worker, result: Any) -> None:
        self.results[cast("int", worker.job)] = result
        worker.job, worker.deadline = None, float("inf")
        self.progress.update()

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.workers[self.workers.index(worker)] = self._start_worker()


def _serve(pipe: Connection, function: Callable[[Any], Any], parent_pid: int) -> None:
    """Main loop of a worker process: one job at a time, until the pipe closes or the parent is gone."""
    threading.Thread(target=_stop_when_orphaned, args=(parent_pid,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _use_one_thread()
    while True:
        pipe.send(_attempt(function, pipe.recv()))


def _attempt(function: Callable[[Any], Any], job: Any) -> tuple[bool, Any]:
    """Whether the job succeeded, and its result or exception."""
    try:
        return True, function(job)
    except UserError as problem:
        return False, problem
    except Exception:  # as text: not every exception can be pickled
        return False, RuntimeError(f"in a worker process:\n{traceback.format_exc()}")


def _use_one_thread() -> None:
    """Limit torch to one thread: with several on busy cores it is many times slower."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _stop_when_orphaned(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(POLL_SECONDS)
    os._exit(3)


def _start_method() -> Literal["fork", "spawn"]:
    """fork where it is safe, else spawn.

    Fork takes milliseconds, but is safe on Linux only, and only before the CUDA driver is initialised: a forked
    process cannot use a driver that its parent initialised. Querying for a GPU initialises it, and whether that
    has happened cannot be determined afterwards; so with torch loaded and a GPU present, spawn is used.
    """
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    return "fork" if sys.platform == "linux" and not has_gpu else "spawn"


def _describe_exit(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


J = TypeVar("J")
R = TypeVar("R")


def worker_count() -> int:
    """Number of worker processes: compute.workers, or one per core available to this process."""
    count = params.read("compute.workers", int)
    if count < 0:
        raise UserError(f"{params.FILE}: compute.workers = {count}: at least 0 (0 = one a core)")
    return count or _num_cores()


def run(
    jobs: Sequence[J], function: Callable[[J], R], *, label: str = "", seconds: float | None = None
) -> list[R | JobFailure]:
    """Map `function` over the jobs in worker processes; results in job order.

    `seconds` limits one attempt at one job. `function` is a pure top-level function. An exception that it raises is
    raised here; expected failures belong in its result. With one worker and no time limit all jobs run in this
    process.
    """
    count = min(worker_count(), len(jobs))
    with _progress(label, len(jobs)) as progress:
        if count <= 1 and seconds is None:
            return _run_in_process(jobs, function, progress)
        pool = WorkerPool(jobs, function, seconds, progress)
        try:
            return pool.run(count)
        finally:
            pool.shut_down()


def _run_in_process(jobs: Sequence[J], function: Callable[[J], R], progress: tqdm) -> list[R | JobFailure]:
    results: list[R | JobFailure] = []
    for job in jobs:
        results.append(function(job))
        progress.update()
    return results


def _progress(label: str, total: int) -> tqdm:
    """Progress on stderr: a bar on a terminal, a line now and then elsewhere; none without a label."""
    is_terminal = sys.stderr.isatty()
    interval = BAR_SECONDS if is_terminal else LINE_SECONDS
    return tqdm(
        desc=label,
        total=total,
        disable=not label,
        mininterval=interval,
        delay=interval,
        miniters=1,
        bar_format=None if is_terminal else LINE_FORMAT,
    )


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

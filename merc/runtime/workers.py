"""Parallel map over worker processes that survives a job which crashes or hangs its process.

Each worker has a pipe of its own, and one thread starts them and hears them all. Measured instead of it:

- pebble shares its pipes among the workers. It waited for ever after an exit code 0, after 40 of 152 deaths beside
  results of 3 MB (noxdafox/pebble#153), and after a kill -9 of a worker that was sending 5 MB.
- A ProcessPoolExecutor for each worker keeps both ends of its pipes open: a kill -9 amid a transfer of 5 MB, either
  way, blocked it for ever (Python 3.11.2). With the ends closed, by four private members, 9,000 kills did no harm.
- Both fork while threads run: a worker forked while one of them imports a module waits for ever if it needs it too.
- A job costs 0.05 ms of processor time here, 0.22 ms with executors, 0.25 ms with pebble.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Literal, TypeVar

from tqdm import tqdm

from merc.runtime import params
from merc.runtime.errors import FULL_OR_READ_ONLY, UserError

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
    pipe: Any
    num_jobs: int = 0  # begun so far


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
        return _run_in_workers(jobs, function, count, seconds, progress)


def _run_in_process(jobs: Sequence[J], function: Callable[[J], R], progress: tqdm) -> list[R | JobFailure]:
    results: list[R | JobFailure] = []
    for job in jobs:
        results.append(function(job))
        progress.update()
    return results


def _run_in_workers(
    jobs: Sequence[J], function: Callable[[J], R], count: int, seconds: float | None, progress: tqdm
) -> list[R | JobFailure]:
    results: dict[int, R | JobFailure] = {}
    num_attempts = [0] * len(jobs)
    waiting = deque(range(len(jobs)))
    idle = [_start(function) for _ in range(count)]
    busy: dict[Any, tuple[_Worker, int, float]] = {}  # by pipe; with the index and the deadline of the job
    try:
        while len(results) < len(jobs):
            while idle and waiting:
                worker, index = idle.pop(), waiting.popleft()
                num_attempts[index] += 1
                worker.num_jobs += 1
                busy[worker.pipe] = worker, index, time.monotonic() + (seconds or math.inf)
                with suppress(OSError):  # it died while idle, as its pipe will tell
                    worker.pipe.send(jobs[index])
            first = min(deadline for _, _, deadline in busy.values())
            ready = wait(busy, min(first - time.monotonic(), POLL_SECONDS))
            late = [pipe for pipe, (_, _, deadline) in busy.items() if time.monotonic() >= deadline]
            for pipe in {*ready, *late}:
                worker, index, _ = busy[pipe]
                result = _receive(worker) if pipe in ready else JobFailure(f"took longer than {seconds:g} s")
                del busy[pipe]
                has_failed = isinstance(result, JobFailure)
                if has_failed or worker.num_jobs >= JOBS_PER_WORKER:
                    _end(worker)
                    worker = _start(function)
                idle.append(worker)
                if has_failed and num_attempts[index] < ATTEMPTS:
                    waiting.appendleft(index)
                    continue
                results[index] = result
                progress.update()
    finally:
        workers = [*idle, *(worker for worker, _, _ in busy.values())]
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            _end(worker)
    return [results[index] for index in range(len(jobs))]


def _start(function: Callable[[Any], Any]) -> _Worker:
    context: Any = multiprocessing.get_context(_start_method())
    parent_end, worker_end = context.Pipe()
    process = context.Process(target=_serve, args=(worker_end, function, os.getpid()), daemon=True)
    process.start()
    worker_end.close()
    return _Worker(process, parent_end)


def _receive(worker: _Worker) -> Any:
    """The result of the job, or why there is none; an exception of the function is raised."""
    try:
        is_ok, result = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode
        return JobFailure(
            f"its worker process died ({f'signal {-code}' if (code or 0) < 0 else f'exit code {code}'})"
        )
    if not is_ok:
        raise result
    return result


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _serve(pipe: Any, function: Callable[[Any], Any], parent_pid: int) -> None:
    """Main loop of a worker process: one job at a time, until the pipe closes or the parent is gone."""
    threading.Thread(target=stop_when_orphaned, args=(parent_pid,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _use_one_thread()
    while True:
        job = pipe.recv()
        try:
            pipe.send((True, function(job)))
        except UserError as problem:
            pipe.send((False, problem))
        except OSError as problem:
            if problem.errno not in FULL_OR_READ_ONLY:
                pipe.send((False, RuntimeError(f"in a worker process:\n{traceback.format_exc()}")))
            else:
                pipe.send((False, OSError(problem.errno, problem.strerror, problem.filename)))
        except Exception:  # as text: not every exception can be pickled
            pipe.send((False, RuntimeError(f"in a worker process:\n{traceback.format_exc()}")))


def _use_one_thread() -> None:
    """Limit torch to one thread: with several on busy cores it is many times slower."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def stop_when_orphaned(parent_pid: int) -> None:
    """End this process when its parent is gone."""
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

"""Parallel map over workers that survives a job which crashes or hangs its process.

This is how the items of every stage run: utterances, parts of packs, seeds, networks, explanations. compute.engine
says where (merc.runtime.engines): in processes of this machine, or in those that Ray has on several machines. The
results are the same bytes; so no stage tracks it.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from tqdm import tqdm

from merc.runtime import params
from merc.runtime.engines.processes import LocalProcesses
from merc.runtime.engines.ray_actors import RayActors
from merc.runtime.engines.worker import Engine, JobFailure, Worker
from merc.runtime.errors import UserError

JOBS_PER_WORKER = 400  # then the process is replaced, so that memory leaks of native libraries do not add up
POLL_SECONDS = 1.0
BAR_SECONDS, LINE_SECONDS = 0.2, 15.0  # least time between updates of the progress: on a terminal, elsewhere
LINE_FORMAT = "{desc}: {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left\n"

tqdm.monitor_interval = 0  # no monitor thread: worker processes are forked

J = TypeVar("J")
R = TypeVar("R")


def worker_count() -> int:
    """Number of worker processes: compute.workers, or one per core available to this process."""
    count = params.read("compute.workers", int)
    if count < 0:
        raise UserError(f"{params.FILE}: compute.workers = {count}: at least 0 (0 = one a core)")
    return count or _num_cores()


def run(
    jobs: Sequence[J],
    function: Callable[[J], R],
    *,
    label: str = "",
    seconds: float | None = None,
    accelerator: bool = False,
) -> list[R | JobFailure]:
    """Map `function` over the jobs in worker processes; results in job order.

    `seconds` limits one attempt at one job. `function` is a pure top-level function. An exception that it raises is
    raised here; expected failures belong in its result. With one local worker and no time limit all jobs run in
    this process. With `accelerator`, Ray gives each worker a GPU of its own.
    """
    name: str = params.read("compute.engine", Literal["local", "ray"])
    count = worker_count()
    with _progress(label, len(jobs)) as progress:
        if not jobs or (name == "local" and min(count, len(jobs)) == 1 and seconds is None):
            return _run_in_process(jobs, function, progress)
        engine = (
            RayActors(function, count, accelerator=accelerator)
            if name == "ray"
            else LocalProcesses(function, count)
        )
        return _run_in_workers(jobs, engine, seconds, progress)


def _run_in_process(jobs: Sequence[J], function: Callable[[J], R], progress: tqdm) -> list[R | JobFailure]:
    results: list[R | JobFailure] = []
    for job in jobs:
        results.append(function(job))
        progress.update()
    return results


def _run_in_workers(
    jobs: Sequence[Any], engine: Engine[Any], seconds: float | None, progress: tqdm
) -> list[Any | JobFailure]:
    results: dict[int, Any] = {}
    num_attempts = [0] * len(jobs)
    waiting = deque(range(len(jobs)))
    idle: list[Worker] = []
    busy: dict[Worker, int] = {}  # with the index of the job
    try:
        idle += [engine.start() for _ in range(min(engine.num_workers, len(jobs)))]
        while len(results) < len(jobs):
            while idle and waiting:
                worker, index = idle.pop(), waiting.popleft()
                num_attempts[index] += 1
                busy[worker] = index
                worker.send(jobs[index])
            ready = set(engine.wait(busy, _patience(busy, seconds)))
            late = {worker for worker in busy if seconds and worker.seconds_at_work() >= seconds}
            for worker in ready | late:
                result = worker.receive() if worker in ready else JobFailure(f"took longer than {seconds:g} s")
                index = busy.pop(worker)
                has_failed = isinstance(result, JobFailure)
                if has_failed or worker.num_jobs >= JOBS_PER_WORKER:
                    engine.end([worker])
                    worker = engine.start()
                idle.append(worker)
                if has_failed and num_attempts[index] < engine.attempts:
                    waiting.appendleft(index)
                    continue
                results[index] = result
                progress.update()
    finally:
        engine.end([*idle, *busy])
    return [results[index] for index in range(len(jobs))]


def _patience(busy: Iterable[Worker], seconds: float | None) -> float:
    """Seconds to wait for an answer: until the first worker is late, if that is soon."""
    left = [seconds - worker.seconds_at_work() for worker in busy] if seconds else []
    return min(max(min(left, default=POLL_SECONDS), 0.0), POLL_SECONDS)


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

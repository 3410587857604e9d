"""Independent jobs over worker processes; a worker that dies or hangs costs one item, never the run."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from merc import params
from merc.crew import Crew, Failed
from merc.problem import Problem
from merc.progress import Progress

J = TypeVar("J")
R = TypeVar("R")


def workers() -> int:
    """Worker processes to use: compute.workers, or one a core that this process may use."""
    asked = params.read("compute.workers", int)
    if asked < 0:
        raise Problem(f"{params.FILE}: compute.workers = {asked}: at least 0 (0 = one a core)")
    return asked or _cores()


def run(
    jobs: Sequence[J], function: Callable[[J], R], *, label: str = "", seconds: float | None = None
) -> list[R | Failed]:
    """`function` of every job, in job order; `seconds` limits one attempt at one job.

    `function` is top-level and pure. An exception that it raises is raised here; what is expected to go
    wrong belongs in its result. With one worker and no time limit everything runs in this process.
    """
    progress = Progress(label, len(jobs))
    count = min(workers(), len(jobs))
    if count <= 1 and seconds is None:
        return _run_here(jobs, function, progress)
    crew = Crew(jobs, function, seconds, progress)
    try:
        return crew.work(count)
    finally:
        crew.dismiss()
        progress.close()


def _run_here(jobs: Sequence[J], function: Callable[[J], R], progress: Progress) -> list[R | Failed]:
    results: list[R | Failed] = []
    for job in jobs:
        results.append(function(job))
        progress.step()
    progress.close()
    return results


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

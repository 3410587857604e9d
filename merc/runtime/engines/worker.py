"""What the engines share: a worker does one job at a time and answers it, and may die of it."""

import os
import sys
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from merc.runtime.errors import REMEDIES, UserError

Answer = tuple[bool, Any]  # True and the result, or False and the exception to raise


@dataclass(frozen=True)
class JobFailure:
    """Result of a job whose worker died, or exceeded the time limit, each time."""

    reason: str


class Worker(Protocol):
    """A process that does one job at a time."""

    num_jobs: int  # begun so far

    def send(self, job: Any) -> None:
        """Begin a job."""
        ...

    def receive(self) -> Any:
        """The result of the job, or a JobFailure if the process died; an exception of the function is raised."""
        ...

    def seconds_at_work(self) -> float:
        """Seconds since the job began."""
        ...


WorkerT = TypeVar("WorkerT", bound=Worker)


class Engine(Protocol[WorkerT]):
    """Starts, hears and ends workers of one function."""

    attempts: int  # at a job whose worker dies
    num_workers: int

    def start(self) -> WorkerT:
        """A new worker."""
        ...

    def wait(self, busy: Collection[WorkerT], seconds: float) -> Collection[WorkerT]:
        """The workers that have an answer or are dead; waits for the first of them, at most so long."""
        ...

    def end(self, workers: Collection[WorkerT]) -> None:
        """End workers, whatever they are doing."""
        ...


def answer(function: Callable[[Any], Any], job: Any) -> Answer:
    """The answer of a worker process to a job: every exception in a form that can be sent."""
    try:
        return True, function(job)
    except UserError as problem:
        return False, problem
    except OSError as problem:
        if problem.errno in REMEDIES:
            return False, OSError(problem.errno, problem.strerror, problem.filename)
        return False, as_text()
    except Exception:
        return False, as_text()


def as_text() -> RuntimeError:
    """The exception in hand as one that can be sent: not every exception can be pickled."""
    return RuntimeError(f"in a worker process:\n{traceback.format_exc()}")


def result_of(received: Answer) -> Any:
    """The result in an answer, or its exception, raised."""
    is_ok, result = received
    if not is_ok:
        raise result
    return result


def use_one_thread() -> None:
    """Limit torch to one thread: with several on busy cores it is many times slower."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)

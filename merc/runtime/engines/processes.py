"""Worker processes of this machine.

Each worker has a pipe of its own, and one thread starts them and hears them all. Measured instead of it:

- pebble shares its pipes among the workers. It waited for ever after an exit code 0, after 40 of 152 deaths beside
  results of 3 MB (noxdafox/pebble#153), and after a kill -9 of a worker that was sending 5 MB.
- A ProcessPoolExecutor for each worker keeps both ends of its pipes open: a kill -9 amid a transfer of 5 MB, either
  way, blocked it for ever (Python 3.11.2). With the ends closed, by four private members, 9,000 kills did no harm.
- Both fork while threads run: a worker forked while one of them imports a module waits for ever if it needs it too.
- A job costs 0.05 ms of processor time here, 0.22 ms with executors, 0.25 ms with pebble.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any, Literal

from merc.runtime.engines.worker import JobFailure, answer, as_text, result_of, use_one_thread

POLL_SECONDS = 1.0


class ProcessWorker:
    """A process of this machine and its pipe."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context: Any = multiprocessing.get_context(start_method())
        self.pipe, worker_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(worker_end, function, os.getpid()), daemon=True)
        self.process.start()
        worker_end.close()
        self.num_jobs, self._begun = 0, 0.0

    def send(self, job: Any) -> None:
        """Begin a job."""
        self.num_jobs, self._begun = self.num_jobs + 1, time.monotonic()
        with suppress(OSError):  # it died while idle, as its pipe will tell
            self.pipe.send(job)

    def receive(self) -> Any:
        """The result of the job, or why there is none; an exception of the function is raised."""
        try:
            received = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return JobFailure(f"its worker process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})")
        return result_of(received)

    def seconds_at_work(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._begun


class LocalProcesses:
    """Engine of worker processes of this machine."""

    attempts = 2

    def __init__(self, function: Callable[[Any], Any], num_workers: int) -> None:
        self.function, self.num_workers = function, num_workers

    def start(self) -> ProcessWorker:
        """A new process, forked where that is safe."""
        return ProcessWorker(self.function)

    def wait(self, busy: Collection[ProcessWorker], seconds: float) -> Collection[ProcessWorker]:
        """The workers with an answer, and the dead ones."""
        by_pipe: dict[Any, ProcessWorker] = {worker.pipe: worker for worker in busy}
        return [by_pipe[pipe] for pipe in wait(by_pipe, seconds)]

    def end(self, workers: Collection[ProcessWorker]) -> None:
        """Kill them all, then wait for each."""
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
            worker.pipe.close()


def _serve(pipe: Any, function: Callable[[Any], Any], parent_pid: int) -> None:
    """Main loop of a worker process: one job at a time, until the pipe closes or the parent is gone."""
    threading.Thread(target=stop_when_orphaned, args=(parent_pid,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    use_one_thread()
    while True:
        answered = answer(function, pipe.recv())
        try:
            pipe.send(answered)
        except Exception:  # a result that cannot be pickled
            pipe.send((False, as_text()))


def stop_when_orphaned(parent_pid: int, said: str = "") -> None:
    """End this process when its parent is gone, after a line `said` on stderr."""
    while os.getppid() == parent_pid:
        time.sleep(POLL_SECONDS)
    with suppress(OSError):  # stderr may have gone with the parent
        os.write(2, said.encode())
    os._exit(3)


def start_method() -> Literal["fork", "spawn"]:
    """fork where it is safe, else spawn.

    Fork takes milliseconds, but is safe on Linux only, and only before the CUDA driver is initialised: a forked
    process cannot use a driver that its parent initialised. Querying for a GPU initialises it, and whether that
    has happened cannot be determined afterwards; so with torch loaded and a GPU present, spawn is used.
    """
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    return "fork" if sys.platform == "linux" and not has_gpu else "spawn"

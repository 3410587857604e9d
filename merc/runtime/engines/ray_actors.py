"""Workers as actors of Ray Core, on this machine or on every machine of a cluster that sees this folder.

An actor is a process that does one job at a time, as a worker process is; so order, retries, time limits and the
replacement of workers are those of merc.runtime.workers, and the results the same bytes. Not Ray's tasks: an actor
reads a function that holds an encoder once, and a time limit can begin when its process is ready.

An idle Ray takes 5 s to start and 0.6 GB of memory for its own processes, a job 1 ms (0.05 ms in a process of this
machine).
"""

import logging
import os
import platform
import socket
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from merc.runtime import numerics, params
from merc.runtime.engines.worker import Answer, JobFailure, answer, result_of, use_one_thread
from merc.runtime.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[3]
# objects are kept in shared memory: functions and results; what does not fit is written to the disk
OBJECT_STORE_BYTES = 500_000_000
CONNECT_SECONDS = 10.0
STARTS = 3  # attempts at starting Ray on this machine: it gives up after 30 s, which a busy machine may need
# Ray reports nothing to its makers, and leaves GPUs visible to a worker that has none of its own
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class _Actor:
    """Runs in a process of Ray's, whose environment pins the numerics before it imports anything."""

    def enter(self, project: str, held: Sequence[Any]) -> Answer:
        """Enter the project's folder, to which paths are relative, and read the function of the jobs."""
        import ray

        if not Path(project).is_dir():
            return False, UserError(f"compute.engine = 'ray': {platform.node()} does not see {project}")
        os.chdir(project)  # first: what the function imports may read params.yaml
        self.function: Any = ray.get(held[0])
        use_one_thread()
        return True, None

    def work(self, job: Any) -> Answer:
        """Answer a job."""
        return answer(self.function, job)


class RayWorker:
    """An actor, and the reference to the answer of its last job."""

    def __init__(self, ray: Any, actor: Any, function: Any) -> None:
        self.ray, self.actor, self.num_jobs = ray, actor, 0
        self.entered = self.answered = actor.enter.remote(str(Path.cwd()), [function])
        self._begun: float | None = None

    def send(self, job: Any) -> None:
        """Begin a job, as soon as the process is there."""
        self.num_jobs, self._begun = self.num_jobs + 1, None
        self.answered = self.actor.work.remote(job)

    def receive(self) -> Any:
        """The result of the job, or why there is none; an exception of the function is raised."""
        errors = self.ray.exceptions
        try:
            result_of(self.ray.get(self.entered))
            return result_of(self.ray.get(self.answered))
        except (errors.RayTaskError, errors.RaySystemError) as problem:  # a result that cannot be sent or read
            raise RuntimeError(f"in a worker process:\n{problem}") from None
        except errors.RayError as problem:
            return JobFailure(f"its worker process died ({str(problem).splitlines()[0]})")

    def seconds_at_work(self) -> float:
        """Seconds since the job began; 0 while the process starts, or waits for room in the cluster."""
        if self._begun is None and self.ray.wait([self.entered], timeout=0)[0]:
            self._begun = time.monotonic()
        return 0.0 if self._begun is None else time.monotonic() - self._begun


class RayActors:
    """Engine of Ray: starts it on this machine, or joins the cluster at compute.ray_address."""

    attempts = 4  # as Ray's own tasks have: with a machine that is taken away go all of its jobs

    def __init__(self, function: Callable[[Any], Any], num_workers: int, *, accelerator: bool) -> None:
        self.ray = _connected(num_workers)
        kind = "GPU" if accelerator else "CPU"
        room = int(self.ray.cluster_resources().get(kind, 0))
        if not room:
            raise UserError(f"{params.FILE}: compute.engine = 'ray': Ray has no {kind} here (compute.ray_address)")
        self.num_workers = min(params.read("compute.workers", int) or room, room)
        self._actors = self.ray.remote(num_cpus=1, num_gpus=int(accelerator), max_restarts=0)(_Actor)
        self._function = self.ray.put(function)

    def start(self) -> RayWorker:
        """A new actor, wherever there is room."""
        return RayWorker(self.ray, self._actors.remote(), self._function)

    def wait(self, busy: Collection[RayWorker], seconds: float) -> Collection[RayWorker]:
        """The workers with an answer, and the dead ones."""
        by_answer = {worker.answered: worker for worker in busy}
        ready, _ = self.ray.wait(list(by_answer), timeout=seconds)
        return [by_answer[one] for one in ready]

    def end(self, workers: Collection[RayWorker]) -> None:
        """Kill them all. Ray itself does so if this process is gone."""
        for worker in workers:
            self.ray.kill(worker.actor)


def _check_is_there(address: str) -> None:
    """Refuse an address where nothing listens, for which Ray itself takes three minutes and a half."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as problem:
        raise UserError(
            f"{params.FILE}: compute.ray_address = {address!r}: no Ray there ({problem}); write host:port, as "
            f"ray start --head says it, or '' for a Ray of this machine"
        ) from None


def _connected(num_workers: int) -> Any:
    """Ray, started once a process."""
    address = params.read("compute.ray_address", str)
    try:
        import ray
    except ImportError:
        raise UserError(
            f"{params.FILE}: compute.engine = 'ray': Ray is not installed: pip install -r requirements-ray.txt"
        ) from None
    if ray.is_initialized():
        return ray
    if address:
        _check_is_there(address)
    own: dict[str, Any] = {
        "num_cpus": num_workers,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    places = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    pinned = numerics.environment() | SETTINGS | {"PYTHONPATH": os.pathsep.join(places)}
    os.environ |= SETTINGS
    for left in reversed(range(STARTS)):
        try:
            ray.init(
                address or "local",
                runtime_env={"env_vars": pinned},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
            break
        except Exception as problem:  # of no class of Ray's own
            if address or not left:
                words = " ".join(str(problem).split())
                raise UserError(f"{params.FILE}: compute.ray_address = {address!r}: no Ray: {words}") from None
    return ray

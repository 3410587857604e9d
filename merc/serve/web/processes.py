"""Processes that read and explain for the page, outside the server's own.

Two threads of one process read only 1.4 to 1.6 times as much as one, because of Python's lock (docs/log.md). A
recording that crashes a decoder ends its process alone, and explanations run at a lower priority of the system.
"""

import ctypes
import gc
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from merc.runtime.engines import processes
from merc.runtime.errors import UserError

POLL_SECONDS = 1.0
STOPPING_SECONDS = 10.0  # that a process may take to leave a call that is stopped, before it is replaced
IDLE_SECONDS = 5.0  # without a call until memory is given back
STOP = "stop"
# Not forked from the server, whose threads may hold a lock, but from a process that has imported and begun nothing:
# the imports' memory is shared. Windows has no such process.
CONTEXT: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
CONTEXT.set_forkserver_preload(["transformers.models.bert.modeling_bert", "merc.serve.predictor.explanations"])

Report = Callable[..., Any]  # steps done, total, description; raises to stop the call
Arguments = tuple[Any, ...]
R = TypeVar("R")


class ProcessFailed(Exception):
    """An exception in a process, with its traceback as text."""


class _Stopped(Exception):
    """Raised in a process whose call is no longer wanted."""


@dataclass(eq=False)
class _Process:
    process: Any
    pipe: Connection


class ProcessPool(Generic[R]):
    """Processes that hold a loaded function; each call takes the next idle one, and waits for it."""

    def __init__(self, load: Callable[[], Callable[..., R]], count: int, niceness: int = 0) -> None:
        """Start to load. `load` is picklable; its function takes a Report before the arguments of a call."""
        self.load, self.niceness = load, niceness
        self.idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self.all: list[_Process] = []
        self.lock, self.is_closed = threading.Lock(), False
        for _ in range(count):
            self.idle.put(self._start())

    def __call__(self, *arguments: Any, report: Report = lambda *step: None) -> R:
        """Call the function; `report` gets its progress, and the last one again every second."""
        process = self.idle.get()
        is_usable = False
        try:
            kind, content = _call(process, arguments, report)
            is_usable = True
        except (EOFError, OSError):
            raise UserError(
                f"this brought its reader down ({_end(process)}); leave out the clip that does it"
            ) from None
        except BaseException:  # of `report`: the call is no longer wanted
            is_usable = _stop(process)
            raise
        finally:
            self.idle.put(process if is_usable else self._replace(process))
        if kind == "refused":
            raise content
        if kind == "failed":
            raise ProcessFailed(content)
        return content

    def close(self) -> None:
        """End all processes; calls that wait for them fail."""
        with self.lock:
            self.is_closed = True
            for process in self.all:
                process.process.kill()

    def _start(self) -> _Process:
        pipe, own_end = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_serve, args=(own_end, self.load, self.niceness), daemon=True)
        started = _Process(process, pipe)
        with self.lock:
            if not self.is_closed:
                process.start()
                self.all.append(started)
        own_end.close()
        return started

    def _replace(self, process: _Process) -> _Process:
        with self.lock:
            if process in self.all:
                self.all.remove(process)
        _end(process)
        return self._start()


def _call(process: _Process, arguments: Arguments, report: Report) -> tuple[str, Any]:
    """The outcome of a call."""
    process.pipe.send(arguments)
    last: Arguments = (0, 1, "reading")
    while True:
        kind, content = process.pipe.recv() if process.pipe.poll(POLL_SECONDS) else ("step", last)
        if kind != "step":
            return kind, content
        last = content
        report(*last)


def _end(process: _Process) -> str:
    """End a process; how it ended."""
    if process.process.pid is None:  # never started
        return "stopped"
    process.process.join(POLL_SECONDS)
    process.process.kill()
    process.process.join()
    process.pipe.close()
    code = process.process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _stop(process: _Process) -> bool:
    """Ask a process to leave its call; whether it did."""
    until = time.monotonic() + STOPPING_SECONDS
    with suppress(EOFError, OSError):
        process.pipe.send(STOP)
        while process.pipe.poll(max(until - time.monotonic(), 0.0)):
            if process.pipe.recv()[0] != "step":
                return True
    return False


def _serve(pipe: Connection, load: Callable[[], Callable[..., Any]], niceness: int) -> None:
    """Main loop of a process: one call at a time, until the pipe closes or the parent is gone."""
    gc.freeze()  # collections would write to the pages of imported modules, which processes share until then
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=processes.stop_when_orphaned, args=(os.getppid(),), daemon=True).start()
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    with suppress(EOFError, OSError, UserError):  # the parent says what is wrong with a model
        function = load()
        while True:
            if not pipe.poll(IDLE_SECONDS):
                give_memory_back()
                pipe.poll(None)
            if (arguments := pipe.recv()) != STOP:  # one that came after the end of its call
                pipe.send(_outcome(function, arguments, pipe))


def _outcome(function: Callable[..., Any], arguments: Arguments, pipe: Connection) -> tuple[str, Any]:
    def report(*step: Any) -> None:
        pipe.send(("step", step))
        if pipe.poll():
            pipe.recv()
            raise _Stopped

    try:
        return "result", function(report, *arguments)
    except UserError as problem:
        return "refused", problem
    except _Stopped:
        return STOP, None
    except Exception:  # as text: not every exception can be pickled
        return "failed", traceback.format_exc()


def give_memory_back() -> None:
    """Return what glibc's allocator keeps of freed memory: each of its arenas, one a thread, keeps its own.

    Measured on ten dialogues of four clips, two readers: 1,123 MB resident, 1,027 after it; 10 to 20 ms.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)

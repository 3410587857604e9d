"""How a stage starts and stops: one line for a user's mistake, an end when DVC has gone."""

import os
import sys
import threading
import time
from collections.abc import Callable

from merc import numerics, params
from merc.problem import Problem

POLL_SECONDS = 2.0


def run(main: Callable[..., None]) -> None:
    """Call a stage's `main` with the command line's words; a Problem ends the process with exit code 2."""
    threading.Thread(target=_stop_when_orphaned, args=(os.getppid(),), daemon=True).start()
    try:
        params.read("numerics", numerics.Numerics)
        if line := numerics.warning():
            print(line, file=sys.stderr)
        main(*sys.argv[1:])
    except Problem as problem:
        sys.exit(_complain(problem))


def _complain(problem: Problem) -> int:
    print(f"merc: {problem}", file=sys.stderr)
    return 2


def _stop_when_orphaned(parent: int) -> None:
    """Killing `dvc` leaves its stage running; end it, so that two never write one output."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(3)

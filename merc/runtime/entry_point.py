"""Entry point of every stage: reports a user's mistake in one line, and exits when the DVC that ran it is gone."""

import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable

from merc.runtime import numerics, params, shards
from merc.runtime.engines import processes
from merc.runtime.errors import UserError, system_error

# variable -> what has started this process and sets it; a shell does not, and may end before what it left behind
STARTERS = {"TORCHELASTIC_RUN_ID": "torchrun", "DVC_STAGE": "dvc"}
SHARD = "shard"  # the parameter of a stage whose items several processes may share


def run(main: Callable[..., None]) -> None:
    """Call a stage's `main` with the command line arguments; a user's mistake ends the process with exit code 2."""
    if started_by := [name for name in STARTERS if name in os.environ]:
        said = f"merc: {STARTERS[started_by[0]]} is gone, which ran this stage: it ends; what is finished is kept\n"
        # killing `dvc` leaves its stage running, and two runs would write one output
        threading.Thread(target=processes.stop_when_orphaned, args=(os.getppid(), said), daemon=True).start()
    try:
        params.read("numerics", numerics.Numerics)
        if line := numerics.portability_warning():
            print(line, file=sys.stderr)
        words, shard = shards.take(sys.argv[1:])
        main = _by_name(main)
        main(*_checked_items(main, words), *_checked_shard(main, shard))
    except UserError as problem:
        print(f"merc: {problem}", file=sys.stderr)
        sys.exit(2)
    except OSError as problem:
        if (line := system_error(problem)) is None:
            raise
        print(line, file=sys.stderr)
        sys.exit(2)


def _by_name(main: Callable[..., None]) -> Callable[..., None]:
    """The same function of the module `stages.<name>`, which is `__main__` here.

    By that name a worker that Ray has started, on any machine, finds the stage's functions and classes.
    """
    spec = sys.modules["__main__"].__spec__
    if main.__module__ != "__main__" or spec is None:
        return main
    return getattr(importlib.import_module(spec.name), main.__name__)


def _checked_items(main: Callable[..., None], items: list[str]) -> list[str]:
    """The items of a matrix stage; raises a UserError if one is missing or too many."""
    names = [name for name in inspect.signature(main).parameters if name != SHARD]
    if len(items) != len(names):
        needed = " ".join(f"<{name}>" for name in names) or "no argument"
        raise UserError(f"the stage takes {needed}, and {len(items)} were given; `dvc repro` gives them itself")
    return items


def _checked_shard(main: Callable[..., None], shard: shards.Shard | None) -> list[shards.Shard]:
    """The shard, as a last argument; raises a UserError if the stage has none."""
    if shard is not None and SHARD not in inspect.signature(main).parameters:
        raise UserError(f"{shards.FLAG}: this stage has no shards; extract and encode have")
    return [] if shard is None else [shard]

"""A stage in several processes that train one network: `torchrun ... -m stages.adapt text`, or MERC_TORCHRUN.

torchrun (PyTorch) starts the processes, numbers them, and ends all of them as soon as one has failed. The first
process alone locks, logs and writes; the others help it to compute (merc/training/core/data_parallel.py). Does not
import torch before there is something to train.
"""

import json
import logging
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from merc.runtime import params, resume
from merc.runtime.errors import UserError, system_error

OPTIONS = "MERC_TORCHRUN"  # torchrun's options, with which a stage starts its own processes: "--nproc-per-node 2"
GRACE_SECONDS = 10.0  # until torchrun ends the processes that are left when one has failed
MISTAKE = 2  # exit code of a user's mistake, as merc/runtime/entry_point.py has it


def is_started() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Whether this process locks, logs and writes: the first of several, or the only one."""
    return not is_started() or os.environ["RANK"] == "0"


def launch(stage: str, *items: str) -> bool:
    """Run the stage in the processes that MERC_TORCHRUN asks for, and wait; False where it does not ask."""
    options = os.environ.get(OPTIONS)
    if not options or is_started():
        return False
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    parser = run.get_args_parser()
    parser.error = _refuse
    try:
        words = shlex.split(options)
    except ValueError as problem:  # a quote that is not closed
        _refuse(str(problem))
    arguments = parser.parse_args([*words, "--module", f"stages.{stage}", *items])
    logging.disable(logging.ERROR)  # torchrun's own account of a failure, which is one line here
    try:
        run.run(arguments)
    except ChildFailedError as problem:
        _raise(stage, *problem.get_first_failure())
    except ValueError as problem:
        _refuse(str(problem))
    except SignalException as problem:
        sys.exit(128 + problem.sigval)
    finally:
        logging.disable(logging.NOTSET)
    return True


def _raise(stage: str, number: int, failure: Any) -> NoReturn:
    """Raise what has ended a process: a user's mistake in the words that it has with one process."""
    if failure.exitcode == MISTAKE:
        raise UserError(failure.message)
    if failure.exitcode < 0:
        raise UserError(f"{stage}: process {number}: {failure.message}; run it again: finished epochs are kept")
    raise RuntimeError(f"in process {number}:\n{failure.message}")


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{OPTIONS} = {os.environ[OPTIONS]!r}: {message}; write torchrun's options (torchrun --help)")


@contextmanager
def joined(name: str) -> Iterator[Path]:
    """out/.partial/<name>/ as by `resume.locked`; of several processes the others wait for the first."""
    with resume.locked(name) if is_first() else nullcontext(resume.ROOT / name) as home:
        if not is_started():
            yield home
            return
        from torch import distributed

        _take_device()
        distributed.init_process_group()  # gloo for what is on a CPU, nccl for what is on a GPU
        yield home
        distributed.destroy_process_group()  # after an error it may wait for a process that has ended


def _take_device() -> None:
    """Make the GPU of this process's number on its machine the current one, where there are GPUs."""
    import torch

    from merc.runtime.device import select_device

    kind, number = select_device().type, int(os.environ["LOCAL_RANK"])
    if kind == "cuda" and number < torch.cuda.device_count():
        torch.cuda.set_device(number)
    elif kind != "cpu":
        raise UserError(
            f"{params.FILE}: compute.device: process {number + 1} of this machine has no {kind} of its own; start "
            "fewer (--nproc-per-node), or set it to cpu"
        )


def reporting(main: Callable[..., None]) -> Callable[..., None]:
    """A stage's `main`, whose errors under torchrun are left to it: of all processes' it shows the first."""

    @wraps(main)
    def report(*items: str) -> None:
        if not is_started():
            return main(*items)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no advice on unused parameters, of each process
        try:
            return main(*items)
        except KeyboardInterrupt:  # torchrun passes it on
            os._exit(128 + signal.SIGINT)
        except Exception as problem:
            _leave(problem)

    return report


def _leave(problem: Exception) -> NoReturn:
    """End this process, at once, and leave the reason where torchrun looks for it."""
    line = str(problem) if isinstance(problem, UserError) else None
    if _is_of_another(problem):
        time.sleep(GRACE_SECONDS)  # meanwhile torchrun names the one that has failed, and ends this one
        line = f"another process of this training has ended or does not answer ({' '.join(str(problem).split())})"
    if isinstance(problem, OSError):
        line = (system_error(problem) or "").removeprefix("merc: ")
    reason = {"message": line or traceback.format_exc(), "timestamp": int(time.time())}
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        Path(file).write_text(json.dumps(reason), encoding="utf-8")
    sys.stdout.flush()
    os._exit(MISTAKE if line else 1)  # the usual end could wait for a process that has ended


def _is_of_another(problem: Exception) -> bool:
    """Whether an exchange with another process has failed. gloo's errors have no class of their own."""
    kinds = {kind.__name__ for kind in type(problem).__mro__}
    return "DistError" in kinds or (isinstance(problem, RuntimeError) and "gloo/transport" in str(problem))

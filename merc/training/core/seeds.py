"""Trains every seed of a stage in worker processes; finished seeds survive a killed run, which is then resumed."""

import importlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

from pydantic import AfterValidator, Field

from merc.runtime import params, resume, workers
from merc.runtime.device import select_device
from merc.runtime.errors import UserError, error_context
from merc.runtime.workers import JobFailure
from merc.training.core.epoch_callbacks import TensorBoardLogger, log_folder
from merc.training.core.loop import EpochCallback

# What a training imports late, 1.4 and 0.4 CPU-seconds: once, before the workers are forked. Any optimiser of
# torch.optim imports torch._dynamo.
IMPORTED_FIRST = ("torch._dynamo", "torch.utils.tensorboard")
RESULT_FILE = "result.json"  # in a finished seed's folder, until every seed is finished


def _check_distinct(numbers: list[int]) -> list[int]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("each seed once")
    return numbers


Seeds = Annotated[list[params.Seed], Field(min_length=1), AfterValidator(_check_distinct)]  # train.seeds


class SeedJob(Protocol):
    """The settings of one seed; pickled and sent to a worker process."""

    @property
    def seed(self) -> int: ...


# trains one seed into a folder, calls the callback after each epoch, returns a JSON-serialisable result
TrainSeed = Callable[[Any, Path, EpochCallback], Any]


class SeedRun(NamedTuple):
    """One seed, the folder of the seeds that are finished, and the folder of its TensorBoard logs."""

    job: SeedJob
    train: TrainSeed
    finished: Path
    logs: Path

    @property
    def folder(self) -> Path:
        return self.finished / f"seed-{self.job.seed}"


def train_seeds(
    out: Path, jobs: Sequence[SeedJob], function: TrainSeed, inputs: Any, sources: Iterable[Path]
) -> list[Any]:
    """Run `function` on each job; return the results in order and move the seeds' folders under `out` at the end.

    `inputs` (JSON-serialisable) and `sources` (files) are all that the results depend on, besides code and seeds.
    """
    files = [resume.file_identity(path) for path in sorted(sources)]
    with resume.locked(out.name) as home:
        shutil.rmtree(out, ignore_errors=True)  # not before: another run may be moving its seeds there
        finished = resume.work_folder(home, [inputs, files, select_device().type])
        logs = log_folder(out.name)
        items = [SeedRun(job, function, finished, logs) for job in jobs]
        _finish([item for item in items if not item.folder.is_dir()], len(items))
        results = [_collect(item, out) for item in items]
        resume.discard(home)
    return results


def _finish(unfinished: list[SeedRun], num_seeds: int) -> None:
    if not unfinished:
        return
    stage = unfinished[0].logs.parent.name
    if len(unfinished) < num_seeds:
        print(f"{stage}: {num_seeds - len(unfinished)} of {num_seeds} seeds were finished by an earlier run")
    for module in IMPORTED_FIRST:
        importlib.import_module(module)
    outcomes = workers.run(unfinished, _learn, label=stage, accelerator=select_device().type == "cuda")
    if failures := [outcome.reason for outcome in outcomes if isinstance(outcome, JobFailure)]:
        raise UserError(
            f"{stage}: {len(failures)} of {num_seeds} seeds failed: {failures[0]}; lower compute.workers if memory "
            "ran out, and run it again: finished seeds are kept"
        )


def _learn(item: SeedRun) -> None:
    """Train in a temporary folder and rename it last of all: a folder without its suffix is a finished seed."""
    unfinished = item.folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    stage, seed = item.logs.parent.name, item.job.seed
    with TensorBoardLogger(item.logs / item.folder.name) as board, error_context(f"{stage}: seed {seed}"):
        result = item.train(item.job, unfinished, board)
    (unfinished / RESULT_FILE).write_text(json.dumps(result), encoding="utf-8")
    unfinished.rename(item.folder)


def _collect(item: SeedRun, out: Path) -> Any:
    resume.move(item.folder, out / item.folder.name)
    file = out / item.folder.name / RESULT_FILE
    result = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return result

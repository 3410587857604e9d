"""Every seed of a training stage; a finished one is kept until all are, so that a killed stage goes on."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

from pydantic import AfterValidator, Field

from merc import partial, work
from merc.board import RUNS, Board
from merc.device import device
from merc.engine import Watch
from merc.problem import during
from merc.work import Failed

TOLD = "told.json"  # in a finished seed's folder, until every seed is finished


def _distinct(numbers: list[int]) -> list[int]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("each seed once")
    return numbers


Seeds = Annotated[list[int], Field(min_length=1), AfterValidator(_distinct)]  # train.seeds


class Job(Protocol):
    """What a stage needs to know for one seed; travels to a worker process."""

    @property
    def seed(self) -> int: ...


# trains one seed into a folder, shows each epoch to the watch, and tells what JSON can write
Learn = Callable[[Any, Path, Watch], Any]


class Item(NamedTuple):
    """One seed, where it is trained, and where TensorBoard finds it."""

    job: Job
    learn: Learn
    place: Path
    runs: Path

    @property
    def folder(self) -> Path:
        return self.place / f"seed-{self.job.seed}"


def learn(out: Path, jobs: Sequence[Job], function: Learn, inputs: Any, sources: Iterable[Path]) -> list[Any]:
    """What `function` told of each job, in order; its folders lie under `out` at the end.

    `inputs` (what JSON can write) and `sources` (files) are all that the results depend on, besides code and seeds.
    """
    shutil.rmtree(out, ignore_errors=True)
    files = [partial.source(path) for path in sorted(sources)]
    with partial.locked(out.name) as home:
        place = partial.folder(home, [inputs, files, device().type])
        runs = RUNS / out.name / time.strftime("%Y%m%d-%H%M%S")
        items = [Item(job, function, place, runs) for job in jobs]
        _finish([item for item in items if not item.folder.is_dir()], len(items))
        told = [_collect(item, out) for item in items]
        partial.clear(home)
    return told


def _finish(waiting: list[Item], seeds: int) -> None:
    if not waiting:
        return
    name = waiting[0].runs.parent.name
    if len(waiting) < seeds:
        print(f"{name}: {seeds - len(waiting)} of {seeds} seeds were finished by an earlier run")
    outcomes = work.run(waiting, _learn, label=name)
    if lost := [one.reason for one in outcomes if isinstance(one, Failed)]:
        raise RuntimeError(f"{len(lost)} of {seeds} seeds failed: {lost[0]}")


def _learn(item: Item) -> None:
    """Train beside the place where a finished seed stands, and move there last of all."""
    begun = item.folder.with_suffix(".begun")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    stage, seed = item.runs.parent.name, item.job.seed
    with Board(item.runs / item.folder.name) as board, during(f"{stage}: seed {seed}"):
        told = item.learn(item.job, begun, board)
    (begun / TOLD).write_text(json.dumps(told), encoding="utf-8")
    begun.rename(item.folder)


def _collect(item: Item, out: Path) -> Any:
    partial.move(item.folder, out / item.folder.name)
    file = out / item.folder.name / TOLD
    told = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return told

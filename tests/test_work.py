"""merc.runtime.workers: results in order, and a bad job costs itself alone."""

import multiprocessing
import os
import re
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from merc.runtime import workers
from merc.runtime.errors import UserError


@pytest.fixture(autouse=True)
def two_workers(monkeypatch):
    monkeypatch.setattr(workers, "worker_count", lambda: 2)


def square(number: int) -> int:
    return number * number


def process(number: int) -> int:
    return os.getpid()


def die_at_three(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def hang_at_three(number: int) -> int:
    if number == 3:
        time.sleep(60)
    return number


def die_the_first_time(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(9)
    return "done"


def stumble(number: int) -> int:
    raise (ValueError if number else UserError)("seven is not allowed")


def test_results_come_in_job_order():
    assert workers.run(range(50), square) == [number * number for number in range(50)]
    assert workers.run([], square) == []


def test_a_dying_worker_costs_one_job():
    results = workers.run(range(8), die_at_three)
    assert results[3] == workers.JobFailure("its worker process died (exit code 9)")
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5, 6, 7]


def test_a_hanging_worker_costs_one_job_and_its_time():
    results = workers.run(range(6), hang_at_three, seconds=0.5)
    assert results[3] == workers.JobFailure("took longer than 0.5 s")
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]


def test_a_death_is_forgiven_once(tmp_path):
    assert workers.run([str(tmp_path / "a"), str(tmp_path / "b")], die_the_first_time) == ["done", "done"]


def test_an_exception_is_raised_here_with_its_place():
    with pytest.raises(RuntimeError, match=r"(?s)in stumble.*seven is not allowed"):
        workers.run([1, 1], stumble)
    with pytest.raises(UserError, match="seven is not allowed"):
        workers.run([0, 0], stumble)


def test_one_worker_works_here_and_a_time_limit_needs_another_process(monkeypatch):
    monkeypatch.setattr(workers, "worker_count", lambda: 1)
    assert set(workers.run(range(3), process)) == {os.getpid()}
    assert os.getpid() not in workers.run(range(3), process, seconds=5.0)


def test_workers_are_replaced_after_a_while(monkeypatch):
    monkeypatch.setattr(workers, "JOBS_PER_WORKER", 5)
    assert len(set(workers.run(range(40), process))) >= 6


def fork_or_spawn(number: int) -> str:
    return multiprocessing.get_start_method()


def test_where_there_is_a_gpu_nothing_is_forked(monkeypatch):
    """Whoever asked for it (stages ask for compute.device) has started the driver, which a fork would break."""
    assert workers.run([0], fork_or_spawn, seconds=60.0) == ["fork" if sys.platform == "linux" else "spawn"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert workers.run([0], fork_or_spawn, seconds=60.0) == ["spawn"]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_lines_tell_the_progress_now_and_then_without_a_thread(capsys, monkeypatch, num_workers):
    monkeypatch.setattr(workers, "worker_count", lambda: num_workers)
    workers.run(range(300), square, label="extract")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(workers, "LINE_SECONDS", 0.0)
    workers.run(range(3), square)
    assert capsys.readouterr().err == ""
    workers.run(range(3), square, label="extract")
    lines = capsys.readouterr().err.replace("\r", "").split("\n")
    assert re.fullmatch(r"extract: 1/3, .*it/s, \d\d:\d\d left", lines[1])
    assert tqdm.monitor is None

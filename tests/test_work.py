"""merc.runtime.workers: results in order, and a bad job costs itself alone."""

import os
import re
import signal
import sys
import threading
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


def end_quietly_at_three(number: int) -> int:
    if number == 3:
        os._exit(0)
    return number


def die_while_it_answers_at_three(number: int) -> bytes:
    """At three, killed while the result is being sent, which does not fit into a pipe at once."""
    answering = threading.get_ident()

    def kill() -> None:
        while sys._current_frames()[answering].f_code.co_name != "_send":  # of multiprocessing.connection
            time.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)

    if number == 3:
        threading.Thread(target=kill).start()
    return bytes(50_000_000 if number == 3 else 1_000)


class Unreadable:
    def __reduce__(self):
        return divmod, (1, 0)


def answer_with(kind: type) -> object:
    return kind()


def stumble(number: int) -> int:
    raise (ValueError if number else UserError)("seven is not allowed")


def test_results_come_in_job_order():
    assert workers.run(range(50), square) == [number * number for number in range(50)]
    assert workers.run([], square) == []


def test_a_dying_worker_costs_one_job():
    results = workers.run(range(8), die_at_three)
    assert results[3] == workers.JobFailure("its worker process died (exit code 9)")
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5, 6, 7]


def test_a_worker_that_ends_without_an_error_costs_one_job():
    results = workers.run(range(8), end_quietly_at_three)
    assert results[3] == workers.JobFailure("its worker process died (exit code 0)")
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_worker_killed_while_it_answers_costs_one_job():
    results = workers.run(range(8), die_while_it_answers_at_three)
    assert results[3] == workers.JobFailure("its worker process died (signal 9)")
    assert results[:3] + results[4:] == [bytes(1_000)] * 7


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


def test_a_result_that_cannot_be_sent_or_read_is_an_error():
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process.*cannot pickle"):
        workers.run([threading.Lock, threading.Lock], answer_with)
    with pytest.raises(ZeroDivisionError):
        workers.run([Unreadable, Unreadable], answer_with)


def test_one_worker_works_here_and_a_time_limit_needs_another_process(monkeypatch):
    monkeypatch.setattr(workers, "worker_count", lambda: 1)
    assert set(workers.run(range(3), process)) == {os.getpid()}
    assert os.getpid() not in workers.run(range(3), process, seconds=5.0)


def test_workers_are_replaced_after_a_while(monkeypatch):
    monkeypatch.setattr(workers, "JOBS_PER_WORKER", 5)
    assert len(set(workers.run(range(40), process))) >= 6


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

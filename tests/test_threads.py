"""Threads of prediction: kept between calls, in order, cancelled early, and none in a forked process."""

import os
import threading
import time

import pytest

from merc.serve.predictor.threads import map_in_threads


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def names() -> set[str]:
    meeting = threading.Barrier(2, timeout=30)  # so that both threads are used

    def name(number: int) -> str:
        meeting.wait()
        return threading.current_thread().name

    with map_in_threads(name, range(2), 4) as results:
        return set(results)


def test_the_same_threads_serve_every_call():
    assert names() == names()
    assert len(names()) == 2


@pytest.mark.parametrize("max_threads", [1, 4])
def test_results_come_in_order(max_threads):
    with map_in_threads(lambda number: time.sleep(0.01 * (number % 2)) or number, range(6), max_threads) as results:
        assert list(results) == list(range(6))


def test_one_item_or_one_thread_needs_no_other():
    for items, max_threads in ((range(3), 1), (range(1), 4)):
        with map_in_threads(lambda _: threading.current_thread(), items, max_threads) as results:
            assert set(results) == {threading.current_thread()}


def test_leaving_early_cancels_what_waits_and_ends_what_runs():
    begun, ended, go = [], [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        go.wait(30)
        ended.append(number)

    with pytest.raises(ValueError, match="enough"), map_in_threads(work, range(20), 2):
        while len(begun) < 2:
            time.sleep(0.01)
        threading.Timer(0.1, go.set).start()
        raise ValueError("enough")
    assert sorted(ended) == sorted(begun) and len(begun) < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_starts_threads_of_its_own():
    names()
    if (child := os.fork()) == 0:
        code = 1
        try:
            code = int(len(names()) != 2)
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while (waited := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    if waited == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert waited == (child, 0)

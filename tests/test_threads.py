"""Helpers of prediction: kept between calls, in order, cancelled early, nested, and none in a forked process."""

import os
import threading
import time

import pytest

from merc.serve.predictor.threads import Helpers, helpers_for


@pytest.fixture
def helpers(monkeypatch) -> Helpers:
    """Those of a machine with two cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    helpers_for.cache_clear()
    return helpers_for(4)


def names(helpers: Helpers) -> set[str]:
    meeting = threading.Barrier(2, timeout=30)  # so that both threads are used

    def name(number: int) -> str:
        meeting.wait()
        return threading.current_thread().name

    return set(helpers.share(name, range(2)))


def test_the_thread_that_calls_and_the_same_helpers_serve_every_call(helpers):
    assert names(helpers) == names(helpers_for(4))
    assert len(names(helpers)) == 2 and threading.current_thread().name in names(helpers)


@pytest.mark.parametrize("max_threads", [1, 4])
def test_results_come_in_order(helpers, max_threads):
    work = lambda number: time.sleep(0.01 * (number % 2)) or number  # noqa: E731
    assert helpers_for(max_threads).share(work, range(6)) == list(range(6))


def test_one_item_or_one_thread_needs_no_other(helpers):
    for items, max_threads in ((range(3), 1), (range(1), 4)):
        used = helpers_for(max_threads).share(lambda _: threading.current_thread(), items)
        assert set(used) == {threading.current_thread()}
    assert not helpers_for(1).any_idle()
    assert helpers_for(1).begin(threading.current_thread)() is threading.current_thread()


def test_errors_come_in_order_too(helpers):
    def work(number: int) -> int:
        if number:
            raise ValueError(f"item {number}")
        time.sleep(0.05)  # the others have failed when this one ends
        return number

    with helpers.results(work, range(3)) as results:
        assert next(results) == 0
        with pytest.raises(ValueError, match="item 1"):
            next(results)


def test_leaving_early_cancels_what_waits_and_ends_what_runs(helpers):
    begun, ended, go = [], [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if threading.current_thread() is threading.main_thread():
            while len(begun) < 2:
                time.sleep(0.01)
            threading.Timer(0.1, go.set).start()
            raise KeyboardInterrupt
        go.wait(30)
        ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        helpers.share(work, range(20))
    assert len(begun) == 2 and len(ended) == 1


def test_what_a_busy_helper_has_not_begun_is_done_by_the_thread_that_needs_it(helpers):
    begun, go = threading.Event(), threading.Event()
    busy = helpers.begin(lambda: begun.set() or go.wait(30))
    assert begun.wait(30) and not helpers.any_idle()
    assert helpers.begin(threading.current_thread)() is threading.current_thread()
    assert set(helpers.share(lambda _: threading.current_thread(), range(3))) == {threading.current_thread()}
    go.set()
    assert busy() and helpers.any_idle()


@pytest.mark.parametrize("cores", [2, 4])
def test_sharing_inside_of_what_is_shared_ends_from_several_threads_at_once(monkeypatch, cores):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    helpers_for.cache_clear()
    helpers = helpers_for(4)

    def leaves(depth: int) -> int:
        later = helpers.begin(lambda: time.sleep(0.0005) or 1)
        below = sum(helpers.share(leaves, [depth - 1] * 3)) if depth else 0
        return below + later()

    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(sum(helpers.share(leaves, [3] * 3))), daemon=True)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [3 * (1 + 3 + 9 + 27)] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_starts_threads_of_its_own(helpers):
    names(helpers)
    if (child := os.fork()) == 0:
        code = 1
        try:
            code = int(len(names(helpers_for(4))) != 2)
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while (waited := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    if waited == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert waited == (child, 0)

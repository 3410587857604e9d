"""The page's processes: a call that breaks, hangs or is no longer wanted costs one process, never the server."""

import gc
import os
import signal
import threading
import time

import pytest

from merc.runtime.errors import UserError
from merc.serve.web import processes
from merc.serve.web.processes import ProcessFailed, ProcessPool


def load():
    """What a process loads: a function of a report and the name of what to do."""

    def act(report, what, *rest):
        if what == "refuse":
            raise UserError("no.mp4: cannot be opened")
        if what == "fail":
            raise ZeroDivisionError("secret")
        if what == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "hang":
            time.sleep(60)
        if what == "frozen":
            return gc.get_freeze_count()
        if what == "steps":
            for step in range(600):
                report(step, 600, "reading")
                time.sleep(0.05)
        return what, os.getpid(), rest

    return act


@pytest.fixture
def pool():
    pool = ProcessPool(load, 1)
    yield pool
    pool.close()


class Unwanted(Exception):
    pass


def test_a_process_answers_and_keeps(pool):
    what, pid, rest = pool("words", 1, 2)
    assert (what, rest) == ("words", (1, 2))
    assert pool("more")[1] == pid != os.getpid()


def test_collections_leave_what_was_imported_to_all_processes(pool):
    """Else the pages of those objects become each process's own: 100 MB a reader after some hundred dialogues."""
    assert pool("frozen") > 10_000


def test_a_refusal_and_a_bug_come_through_and_leave_the_process(pool):
    pid = pool("")[1]
    with pytest.raises(UserError, match=r"^no.mp4: cannot be opened$"):
        pool("refuse")
    with pytest.raises(ProcessFailed, match="ZeroDivisionError: secret"):
        pool("fail")
    assert pool("")[1] == pid


def test_a_crash_is_one_line_and_a_new_process(pool):
    pid = pool("")[1]
    with pytest.raises(UserError, match=r"brought its reader down \(signal 11\)"):
        pool("crash")
    assert pool("")[1] != pid


def test_a_call_that_is_no_longer_wanted_ends_and_its_process_stays(pool):
    pid, steps = pool("")[1], []

    def report(*step):
        steps.append(step)
        if len(steps) == 3:
            raise Unwanted

    with pytest.raises(Unwanted):
        pool("steps", report=report)
    assert steps[:2] == [(0, 600, "reading"), (1, 600, "reading")]
    assert pool("")[1] == pid


def test_too_long_a_call_is_refused_like_any_other_mistake(pool):
    def report(*step):
        raise UserError("too long")

    with pytest.raises(UserError, match="too long"):
        pool("steps", report=report)
    assert pool("words")[0] == "words"


def test_a_call_that_hangs_is_asked_every_second_and_its_process_replaced(pool, monkeypatch):
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(processes, "STOPPING_SECONDS", 0.2)
    pid, asked = pool("")[1], []

    def report(*step):
        asked.append(step)
        if len(asked) == 3:
            raise Unwanted

    with pytest.raises(Unwanted):
        pool("hang", report=report)
    assert pool("")[1] != pid


def test_closing_ends_a_call_at_once(pool):
    pool("")
    outcome = []

    def call():
        try:
            pool("hang")
        except UserError as error:
            outcome.append(str(error))

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.3)
    pool.close()
    caller.join(10)
    assert len(outcome) == 1

"""Threads that help the ones that call the predictor, kept from one call to the next.

A new thread loads a face detector and compiles oneDNN's kernels anew, and gets its memory from the system: with two
new threads a call, a dialogue of ten clips takes 9 % more of the processor than in one thread, with kept ones 3 %.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Helpers:
    """Threads that take a part of what another thread has to do.

    Whatever no helper has begun yet when its result is needed is done by the thread that needs it. So nothing waits
    for a thread to become idle, and what is shared may share in turn (clips, then what is searched in a clip).
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(max(count, 1), thread_name_prefix="merc")  # begins threads when needed
        self._asked: set[Future[Any]] = set()  # waiting or at work

    def any_idle(self) -> bool:
        """Whether a helper would begin at once."""
        return len(self._asked) < self.count

    def begin(self, function: Callable[[], R]) -> Callable[[], R]:
        """A function that returns the result of `function`, which releases Python's lock."""
        future = self._ask(function) if self.count else None
        return lambda: function() if future is None or future.cancel() else future.result()

    def share(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`function`, which releases Python's lock, of each item; in order."""
        with self.results(function, items) as results:
            return list(results)

    @contextmanager
    def results(self, function: Callable[[T], R], items: Sequence[T]) -> Generator[Iterator[R], None, None]:
        """As `share`, each result as soon as it and those before it are there.

        Leaving the context early leaves out what has not begun, and waits for what has.
        """
        work: _SharedWork[T, R] = _SharedWork(function, items)
        helping = [self._ask(work.do_all) for _ in range(min(self.count, len(items) - 1))]
        try:
            yield work.results()
        finally:
            work.todo.clear()
            wait([future for future in helping if not future.cancel()])

    def _ask(self, function: Callable[[], R]) -> Future[R]:
        future = self._pool.submit(function)
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future


class _SharedWork(Generic[T, R]):
    """Items of which several threads take the next in turn."""

    def __init__(self, function: Callable[[T], R], items: Sequence[T]) -> None:
        self.function = function
        self.outcomes: list[Future[R]] = [Future() for _ in items]
        self.todo = deque(zip(items, self.outcomes, strict=True))

    def do_next(self) -> bool:
        """Do the next item, if any is left."""
        try:
            item, outcome = self.todo.popleft()
        except IndexError:
            return False
        try:
            outcome.set_result(self.function(item))
        except BaseException as error:
            outcome.set_exception(error)  # raised where the result is asked for, in the order of the items
            if not isinstance(error, Exception):  # an interrupt is not to wait for its turn
                raise
        return True

    def do_all(self) -> None:
        """Do items until none is left."""
        while self.do_next():
            pass

    def results(self) -> Iterator[R]:
        """The results in order, for which this thread works too."""
        for outcome in self.outcomes:
            while not outcome.done() and self.do_next():
                pass
            yield outcome.result()


@cache
def helpers_for(max_threads: int) -> Helpers:
    """The helpers of a thread that may use so many threads, itself included, and no more than there are cores."""
    return Helpers(min(max_threads, os.cpu_count() or 1) - 1)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=helpers_for.cache_clear)  # the threads stay with the parent

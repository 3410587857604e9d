"""Threads that read and encode in parallel, kept from one call to the next.

A new thread loads a face detector and compiles oneDNN's kernels anew, and gets its memory from the system: with two
new threads a call, a dialogue of ten clips takes 9 % more of the processor than in one thread, with kept ones 3 %.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def map_in_threads(
    function: Callable[[T], R], items: Iterable[T], max_threads: int
) -> Generator[Iterator[R], None, None]:
    """Map `function`, which releases Python's lock, over items in parallel, results in order.

    Leaving the context early cancels pending calls, and waits for those that run. `function` itself must not map.
    """
    items = list(items)
    num_threads = min(max_threads, os.cpu_count() or 1)
    if min(len(items), num_threads) < 2:
        yield map(function, items)
        return
    futures = [_pool(num_threads).submit(function, item) for item in items]
    try:
        yield (future.result() for future in futures)
    finally:
        wait([future for future in futures if not future.cancel()])


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads, thread_name_prefix="merc")


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_pool.cache_clear)  # the threads stay with the parent

"""Threads for what releases Python's lock: decoding, searching for faces, networks."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

MOST = 4  # threads: the pictures of a clip that is read may take 250 MB
T, R = TypeVar("T"), TypeVar("R")


@contextmanager
def beside(function: Callable[[T], R], items: Iterable[T]) -> Iterator[Iterator[R]]:
    """`function` of every item, in order, computed beside each other; left early, what has not begun never does."""
    given = list(items)
    threads = min(len(given), MOST, os.cpu_count() or 1)
    if threads < 2:
        yield map(function, given)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="merc")
    try:
        yield (future.result() for future in [pool.submit(function, item) for item in given])
    finally:
        pool.shutdown(cancel_futures=True)

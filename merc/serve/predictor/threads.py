"""A thread pool for work that releases Python's global interpreter lock: decoding, face detection, networks."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

MAX_THREADS = 4  # threads: the pictures of a clip that is being read may take 250 MB
T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def map_in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[Iterator[R]]:
    """Map `function` over items in parallel, results in order; leaving the context early cancels pending calls."""
    items = list(items)
    num_threads = min(len(items), MAX_THREADS, os.cpu_count() or 1)
    if num_threads < 2:
        yield map(function, items)
        return
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="merc")
    try:
        yield (future.result() for future in [pool.submit(function, item) for item in items])
    finally:
        pool.shutdown(cancel_futures=True)

"""Python's garbage collector, and what lives as long as the process."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Import and load without looking for garbage, which that hardly makes, and never look among its objects later.

    The collector would go through them again and again, and once more when the process ends: a quarter of the time
    that torch, transformers and shap take to be imported.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()

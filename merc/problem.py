"""The one exception for what a user can put right: shown as one line, never as a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class Problem(Exception):
    """A mistake in input, parameters or environment; the message names the place, the value and the remedy."""


@contextmanager
def during(what: str) -> Iterator[None]:
    """A Problem inside says, before its own words, what was being done."""
    try:
        yield
    except Problem as problem:
        raise Problem(f"{what}: {problem}") from None

"""The exception for mistakes that a user can correct: shown as one line, never as a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in input, parameters or environment; the message names the location, the value and the remedy."""


@contextmanager
def error_context(action: str) -> Iterator[None]:
    """Prefix the message of any user error raised inside with the action that failed."""
    try:
        yield
    except UserError as problem:
        raise UserError(f"{action}: {problem}") from None

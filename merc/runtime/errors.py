"""The exception for mistakes that a user can correct, shown as one line, never as a traceback."""

import argparse
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# numbers of an OSError that a user can mend
FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class UserError(Exception):
    """A mistake in input, parameters or environment; the message names the location, the value and the remedy."""


def full_or_read_only(problem: OSError) -> str | None:
    """The one line about a disk that is full or may not be written; None for any other error, which is a defect."""
    if problem.errno not in FULL_OR_READ_ONLY:
        return None
    place = f"{problem.filename}: " if problem.filename else ""
    return f"merc: {place}{problem.strerror}; make room or allow writing, then run it again"


class CommandLine(argparse.ArgumentParser):
    """Parser of a command's arguments: raises a UserError where argparse prints the whole usage and exits."""

    def error(self, message: str) -> NoReturn:
        hint = f"usage: {self.usage}" if self.usage else f"{self.prog} --help says what there is"
        raise UserError(f"{message} ({hint})")


@contextmanager
def error_context(action: str) -> Iterator[None]:
    """Prefix the message of any user error raised inside with the action that failed."""
    try:
        yield
    except UserError as problem:
        raise UserError(f"{action}: {problem}") from None

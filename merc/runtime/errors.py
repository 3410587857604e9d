"""The exception for mistakes that a user can correct, shown as one line, never as a traceback."""

import argparse
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# number of an OSError that a user can mend -> how
REMEDIES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
        "make room or allow writing, then run it again",
    ),
    errno.ENAMETOOLONG: "write a shorter name",
    errno.ENOTDIR: "a part of this path is a file; name a folder there, or move the file",
    errno.EEXIST: "a file is where a folder belongs; move it, or name another path",
    errno.EISDIR: "name a file",
}


class UserError(Exception):
    """A mistake in input, parameters or environment; the message names the location, the value and the remedy."""


def system_error(problem: OSError) -> str | None:
    """The one line about an error of the system that a user can mend; None for any other, which is a defect."""
    if (remedy := REMEDIES.get(problem.errno or 0)) is None:
        return None
    place = f"{problem.filename}: " if problem.filename else ""
    return f"merc: {place}{problem.strerror}; {remedy}"


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

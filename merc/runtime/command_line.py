"""Argument parser of the commands `python -m merc <command>`: a user's mistake is a UserError of one line."""

import argparse
from typing import NoReturn

from merc.runtime.errors import UserError


class CommandLine(argparse.ArgumentParser):
    """ArgumentParser that raises a UserError where argparse prints the whole usage and exits."""

    def error(self, message: str) -> NoReturn:
        hint = f"usage: {self.usage}" if self.usage else f"{self.prog} --help says what there is"
        raise UserError(f"{message} ({hint})")

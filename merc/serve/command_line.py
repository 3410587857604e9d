"""A command's options; a mistake in them is one line, as every other of a user's mistakes."""

import argparse
from typing import NoReturn

from merc.problem import Problem


class CommandLine(argparse.ArgumentParser):
    """argparse would print the whole usage before its sentence."""

    def error(self, message: str) -> NoReturn:
        raise Problem(f"{message} ({self.prog} --help says what there is)")

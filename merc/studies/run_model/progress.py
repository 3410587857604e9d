"""Answers that a killed run leaves behind: FILE.part, a line per utterance, appended to and never rewritten."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merc.runtime.errors import UserError


class Answers:
    """The answers of a run so far, by split and row: lists of numbers, or None where the model had no input."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        """Continue what is there; refuse the answers of other settings."""
        self.path, self.known = out.with_name(out.name + ".part"), {}
        header = json.dumps(settings, sort_keys=True)
        whole = _whole_lines(self.path)
        if whole and whole[0] != header:
            raise UserError(f"{self.path}: was begun with other settings; remove it, or name another --out")
        for line in whole[1:]:
            split, row, values = json.loads(line)
            self.known[split, row] = values
        if not whole:
            self._append([header])

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self.known

    def add(self, split: str, first: int, answers: Sequence[list[float] | None]) -> None:
        """Keep the answers of rows from `first` on."""
        numbered = list(enumerate(answers, start=first))
        self._append([json.dumps([split, row, values]) for row, values in numbered])
        self.known |= {(split, row): values for row, values in numbered}

    def of(self, split: str, rows: int) -> list[list[float] | None]:
        """The answers of a split, in order."""
        return [self.known[split, row] for row in range(rows)]

    def _append(self, lines: Sequence[str]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[str]:
    """The lines of the file; what a killed run left of a last one is cut off."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return whole.decode("utf-8").splitlines()

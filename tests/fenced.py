"""The fenced blocks of README.md and docs/, with the marks in their fences."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md"))]
NEEDS = {"MELD", "IEMOCAP", "RAVDESS", "network", "camera", "cluster", "GPU", "clips"}  # clips: the reader's own
FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: `bash needs=MELD` has the language bash and the marks {"needs": "MELD"}."""

    page: str
    line: int
    language: str
    marks: dict[str, str]
    text: str
    output: str | None  # of the block `text output` that follows

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """Commands without comments and continuations."""
        joined = self.text.replace("\\\n", " ")
        return [" ".join(words) for line in joined.splitlines() if (words := _words(line))]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # an open quotation mark of a usage
        return line.split()


def blocks() -> list[Block]:
    """Every block of every page, in order."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        matches = list(FENCE.finditer(text))
        for number, match in enumerate(matches):
            language, *marks = match[2].split() or [""]
            after = matches[number + 1] if number + 1 < len(matches) else None
            output = after[3] if after is not None and after[2] == "text output" else None
            pairs = {mark.split("=")[0]: mark.partition("=")[2] for mark in marks}
            line = text[: match.start()].count("\n") + 1
            found.append(Block(path.relative_to(ROOT).as_posix(), line, language, pairs, match[3], output))
    return found

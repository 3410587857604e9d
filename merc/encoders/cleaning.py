"""What may be changed in a text before a language model reads it; every character remembers where it came from."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

Name = Literal["cp1252", "lowercase", "asides", "links", "repeats"]
Edit = tuple[int, int, str]  # these characters become that
Cleaner = Callable[[str], Iterable[Edit]]
STRAY = re.compile("[\x80-\x9f]")
# what is heard or seen and not said: [laughter], (sighs), *gasps*
ASIDE = re.compile(r"\[[^\[\]]{1,60}\]|\([^()]{1,60}\)|\*[^*\s][^*]{0,60}\*")
LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
REPEATED = re.compile(r"([^\w\s])\1+")


@dataclass(frozen=True)
class Cleaned:
    """A text, and of each of its characters which of the original's it stands for."""

    text: str
    origin: tuple[tuple[int, int], ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original's characters behind these; (0, 0) behind none."""
        return (self.origin[start][0], self.origin[end - 1][1]) if start < end else (0, 0)


def clean(text: str, names: Sequence[Name]) -> Cleaned:
    """The text after the named cleaners, in the order given."""
    cleaned = Cleaned(text, tuple((place, place + 1) for place in range(len(text))))
    for name in names:
        cleaned = _edited(cleaned, CLEANERS[name](cleaned.text))
    return cleaned


def _edited(cleaned: Cleaned, edits: Iterable[Edit]) -> Cleaned:
    words, origin, done = [], [], 0
    for start, end, new in edits:
        words += [cleaned.text[done:start], new]
        origin += [*cleaned.origin[done:start], *[_behind(cleaned, start, end, new)] * len(new)]
        done = end
    return Cleaned("".join([*words, cleaned.text[done:]]), (*origin, *cleaned.origin[done:]))


def _behind(cleaned: Cleaned, start: int, end: int, new: str) -> tuple[int, int]:
    """A blank stands for nothing of what it replaces: the word piece that begins with it is the next word's."""
    first, last = cleaned.span(start, end)
    return (last, last) if new.isspace() else (first, last)


def _cp1252(text: str) -> Iterator[Edit]:
    for match in STRAY.finditer(text):
        read = match[0].encode("latin-1").decode("cp1252", errors="replace").replace("\ufffd", " ")
        yield match.start(), match.end(), read


def _lowercase(text: str) -> Iterator[Edit]:
    yield from ((place, place + 1, one.lower()) for place, one in enumerate(text) if one != one.lower())


def _blanked(pattern: re.Pattern[str], text: str) -> Iterator[Edit]:
    yield from ((match.start(), match.end(), " ") for match in pattern.finditer(text))


def _repeats(text: str) -> Iterator[Edit]:
    yield from ((match.start(), match.end(), match[1]) for match in REPEATED.finditer(text))


CLEANERS: dict[Name, Cleaner] = {
    "cp1252": _cp1252,  # U+0080-U+009F are the characters that they were before somebody decoded cp1252 as latin-1
    "lowercase": _lowercase,
    "asides": partial(_blanked, ASIDE),
    "links": partial(_blanked, LINK),
    "repeats": _repeats,  # !!! becomes !; ?!?! stays
}

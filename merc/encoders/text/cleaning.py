"""Optional cleaning of texts before tokenisation, which keeps the position of each character in the original."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

CleanerName = Literal["cp1252", "lowercase", "asides", "links", "repeats"]
Edit = tuple[int, int, str]  # start, end, replacement
Cleaner = Callable[[str], Iterable[Edit]]
C1_CONTROL = re.compile("[\x80-\x9f]")
# sounds and actions that a transcript notes besides the words: [laughter], (sighs), *gasps*
ASIDE = re.compile(r"\[[^\[\]]{1,60}\]|\([^()]{1,60}\)|\*[^*\s][^*]{0,60}\*")
LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
REPEATED = re.compile(r"([^\w\s])\1+")


@dataclass(frozen=True)
class CleanedText:
    """A cleaned text, and the span of the original text behind each of its characters."""

    text: str
    origin: tuple[tuple[int, int], ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Span in the original text of a span of the cleaned text; (0, 0) for an empty one."""
        return (self.origin[start][0], self.origin[end - 1][1]) if start < end else (0, 0)


def clean_text(text: str, names: Sequence[CleanerName]) -> CleanedText:
    """Apply the named cleaners in this order."""
    cleaned = CleanedText(text, tuple((index, index + 1) for index in range(len(text))))
    for name in names:
        cleaned = _apply(cleaned, CLEANERS[name](cleaned.text))
    return cleaned


def _apply(cleaned: CleanedText, edits: Iterable[Edit]) -> CleanedText:
    """Apply edits that are sorted and do not overlap."""
    pieces, origin, position = [], [], 0
    for start, end, replacement in edits:
        pieces += [cleaned.text[position:start], replacement]
        span = _original_span(cleaned, start, end, replacement)
        origin += [*cleaned.origin[position:start], *[span] * len(replacement)]
        position = end
    return CleanedText("".join([*pieces, cleaned.text[position:]]), (*origin, *cleaned.origin[position:]))


def _original_span(cleaned: CleanedText, start: int, end: int, replacement: str) -> tuple[int, int]:
    """Span of the replaced characters; empty for a blank, which begins the word piece of the next word."""
    first, last = cleaned.span(start, end)
    return (last, last) if replacement.isspace() else (first, last)


def _cp1252(text: str) -> Iterator[Edit]:
    for match in C1_CONTROL.finditer(text):
        decoded = match[0].encode("latin-1").decode("cp1252", errors="replace").replace("\ufffd", " ")
        yield match.start(), match.end(), decoded


def _lowercase(text: str) -> Iterator[Edit]:
    for index, character in enumerate(text):
        if character != character.lower():
            yield index, index + 1, character.lower()


def _replace(pattern: re.Pattern[str], template: str, text: str) -> Iterator[Edit]:
    yield from ((match.start(), match.end(), match.expand(template)) for match in pattern.finditer(text))


CLEANERS: dict[CleanerName, Cleaner] = {
    "cp1252": _cp1252,  # repairs U+0080-U+009F: cp1252 that was decoded as latin-1
    "lowercase": _lowercase,
    "asides": partial(_replace, ASIDE, " "),
    "links": partial(_replace, LINK, " "),
    "repeats": partial(_replace, REPEATED, r"\1"),  # !!! becomes !; ?!?! stays
}

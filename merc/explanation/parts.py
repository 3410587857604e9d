"""Parts of an utterance that are scored: its words, spans of its sound, moments of its face."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from merc.data.records.stream_name import StreamName

SPANS = 8  # parts at most of a sound or of a face
PADDING = -1

Span = tuple[float, float, str]  # start, end (characters or seconds), word
Cut = Callable[[np.ndarray, str, float], tuple[np.ndarray, list[Span]]]  # the part of each step, the parts


@dataclass(frozen=True)
class Parts:
    """Parts are numbered from 0 within each utterance, over all of its streams."""

    table: pd.DataFrame  # row, part, modality, start, end (characters or seconds), word
    owner: dict[str, np.ndarray]  # by stream: (N, S) the part that a step belongs to, PADDING beyond the last step
    counts: np.ndarray  # (N,) parts of each utterance


def take_apart(
    units: dict[str, list[np.ndarray]], texts: list[str], step_seconds: dict[str, float | None]
) -> Parts:
    """Parts of N utterances from their units: by stream one (steps, names) array an utterance, empty if absent."""
    counts, table = np.zeros(len(texts), np.int64), []
    owner = {stream: np.full((len(texts), max(map(len, arrays))), PADDING) for stream, arrays in units.items()}
    for stream, arrays in units.items():
        modality = StreamName.parse(stream).modality
        for row, steps in enumerate(arrays):
            if len(steps):
                numbers, spans = CUTS[modality](steps, texts[row], step_seconds[stream] or 0.0)
                owner[stream][row, : len(steps)] = numbers + counts[row]
                table += [(row, part, modality, *span) for part, span in enumerate(spans, counts[row])]
                counts[row] += len(spans)
    columns = ["row", "part", "modality", "start", "end", "word"]
    return Parts(pd.DataFrame(sorted(table), columns=columns), owner, counts)


def words(text: str) -> list[tuple[int, int, str]]:
    """The words of the text between white space, as (start, end, word)."""
    return [(match.start(), match.end(), match.group()) for match in re.finditer(r"\S+", text)]


def _words(units: np.ndarray, text: str, _: float) -> tuple[np.ndarray, list[Span]]:
    """A word owns the pieces that start in it; a step without characters (CLS) is the sentence as a whole."""
    spans = [(0.0, 0.0, ""), *words(text)]
    ends = np.array([end for _, end, _ in spans[1:]])
    number = np.minimum(np.searchsorted(ends, units[:, 0], side="right") + 1, len(spans) - 1)
    number[units[:, 1] <= units[:, 0]] = 0
    used, numbers = np.unique(number, return_inverse=True)
    return numbers, [spans[index] for index in used]


def _spans(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, list[Span]]:
    count = min(len(starts), SPANS)
    numbers = np.arange(len(starts)) * count // len(starts)
    first = np.searchsorted(numbers, np.arange(count))
    last = np.append(first[1:], len(starts)) - 1
    return numbers, [
        (start, end, "") for start, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True)
    ]


def _sounds(units: np.ndarray, _text: str, _seconds: float) -> tuple[np.ndarray, list[Span]]:
    return _spans(units[:, 0], units[:, 1])


def _moments(units: np.ndarray, _text: str, seconds: float) -> tuple[np.ndarray, list[Span]]:
    return _spans(units[:, 0], units[:, 0] + seconds)


CUTS: dict[str, Cut] = {"text": _words, "audio": _sounds, "vision": _moments}

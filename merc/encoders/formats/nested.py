"""From nested containers to named arrays: whatever nests, in the end there are vectors with a way to each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from merc.encoders.formats import keys
from merc.encoders.formats.pickles import Array
from merc.problem import Problem

Way = tuple[str | int, ...]  # keys of mappings are words, places in lists are numbers
IDS = ("id", "ids", "key", "keys", "name", "names", "filename", "filenames", "file", "utterance", "utterance_id")
NUMBERS = (bool, int, float, np.number, np.bool_, type(None))  # null is NaN
DEEPEST = 60  # levels; a file of features has about five
SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True)
class Odd:
    """What stands where numbers should, and what is wrong with it."""

    reason: str


class Walk:
    """Visits every leaf; more of them than `size` bytes can hold are the same ones over and over."""

    def __init__(self, size: int) -> None:
        self.nodes, self.numbers = max(100_000, size), max(2**27, 128 * size)

    def leaves(self, node: Any, way: Way = (), depth: int = 0) -> Iterator[tuple[Way, np.ndarray | Odd]]:
        """The way to each array (steps, width), and the array."""
        self._count(depth)
        node = _opened(node)
        if isinstance(node, Mapping):
            node = _by_id(node)
            for key, value in node.items():
                yield from self.leaves(value, (*way, *keys.parts_of(key)), depth + 1)
        elif (found := _array(node)) is not None:
            self.numbers -= 0 if isinstance(found, Odd) else found.size
            yield way, found
        else:
            yield from self._listed(list(node), way, depth)

    def _listed(self, items: list, way: Way, depth: int) -> Iterator[tuple[Way, np.ndarray | Odd]]:
        records = [_opened(item) for item in items]
        if not way and len(records) == 3 and all(isinstance(one, Mapping) for one in records):
            named: Mapping = dict(zip(("train", "dev", "test"), records, strict=True))  # as MELD's own pickles
            yield from self.leaves(named, way, depth + 1)
        elif (by_id := _records(records)) is not None:
            yield from self.leaves(by_id, way, depth + 1)
        else:
            for place, item in enumerate(records):
                yield from self.leaves(item, (*way, place), depth + 1)

    def _count(self, depth: int) -> None:
        self.nodes -= 1
        if depth > DEEPEST:
            raise Problem(f"nests more than {DEEPEST} levels deep; no features do")
        if self.nodes < 0 or self.numbers < 0:
            raise Problem("holds itself, or the same parts over and over; no features do")


def _opened(node: Any) -> Any:
    """Arrays of objects as lists, tensors as arrays, leading axes of 1 dropped."""
    if isinstance(node, Array):
        node = node.value
    if hasattr(node, "numpy") and hasattr(node, "detach"):
        node = node.detach().cpu().to_dense().float().numpy()
    if isinstance(node, np.ndarray):
        while node.ndim > 2 and len(node) == 1:
            node = node[0]
        if node.dtype == object or node.ndim > 2:
            return node.item() if node.ndim == 0 else list(node)
    return node


def _array(node: Any) -> np.ndarray | Odd | None:
    """The (steps, width) float32 array that a leaf is, or what is wrong with it; None for a list to look into."""
    if node is None:
        return np.zeros((0, 0), np.float32)
    if isinstance(node, (str, bytes)):
        return Odd(f"{_short(node)} is no number")
    if isinstance(node, NUMBERS):
        node = [node]
    if isinstance(node, np.ndarray):
        return _numbers(node)
    if not isinstance(node, (list, tuple)):
        return Odd(f"a {type(node).__name__} is no number")
    return _vectors(node)


def _vectors(items: list | tuple) -> np.ndarray | Odd | None:
    """Of a list: of numbers a vector, of vectors of one length their steps; None if it holds anything else."""
    if not items:
        return np.zeros((0, 0), np.float32)
    if _are_numbers(items):
        return _numbers(np.array([np.nan if item is None else _float(item) for item in items]))
    items = [_opened(item) for item in items]
    widths = [_width(item) for item in items]
    if None in widths:
        words = [item for item in items if isinstance(item, (str, bytes))]
        return Odd(f"{_short(words[0])} is no number") if words else None
    if len(set(widths)) > 1:
        return Odd(f"its vectors are ragged: {widths[0]} numbers, then {next(w for w in widths if w != widths[0])}")
    return _numbers(np.stack([_array(item)[0] for item in items])) if widths[0] else None


def _width(item: Any) -> int | None:
    if isinstance(item, np.ndarray):
        return len(item) if item.ndim == 1 and item.dtype.kind in "biuf" else None
    return len(item) if isinstance(item, (list, tuple)) and _are_numbers(item) else None


def _are_numbers(items: list | tuple) -> bool:
    return all(issubclass(kind, NUMBERS) for kind in set(map(type, items)))


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf


def _numbers(array: np.ndarray) -> np.ndarray | Odd:
    """As (steps, width) float32; what is too large for it becomes infinite, and is counted as such."""
    if array.dtype.kind not in "biuf":
        return Odd(f"{_short(array.flat[0])} is no number" if array.size else "is no array of numbers")
    with np.errstate(over="ignore"):
        return np.atleast_2d(array).astype(np.float32)


def _by_id(node: Mapping) -> Mapping:
    """{ids: N names, x: N values} as {x: {name: value}}; `x_lengths` says how many steps count."""
    for word in IDS:
        names = _column(node.get(word))
        if not names or not all(isinstance(one, (str, bytes, tuple)) for one in names):
            continue
        columns = {key: _column(value, len(names)) for key, value in node.items() if key != word}
        columns = {key: column for key, column in columns.items() if column is not None}
        counts = {key: columns.pop(f"{key}_lengths", None) for key in list(columns)}
        if columns:
            return {key: _named(names, column, counts[key]) for key, column in columns.items()}
    return node


def _column(value: Any, rows: int | None = None) -> list | None:
    value = _opened(value)
    if not isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, np.ndarray) and not value.ndim):
        return None
    return list(value) if rows in (None, len(value)) else None


def _named(names: list, column: list, lengths: list | None) -> dict[Any, Any]:
    if len(set(names)) < len(names):
        raise Problem(f"names {next(one for one in names if names.count(one) > 1)!r} twice; keep one of the two")
    if lengths is None or not all(isinstance(one, (int, np.integer)) for one in lengths):
        return dict(zip(names, column, strict=True))
    return {name: value[:count] for name, value, count in zip(names, column, lengths, strict=True)}


def _records(items: list) -> dict[Any, Any] | None:
    """[{id: name, x: value}, ...] as {name: {x: value}}."""
    if not items or not all(isinstance(one, Mapping) for one in items):
        return None
    word = next((word for word in IDS if all(isinstance(one.get(word), (str, tuple)) for one in items)), None)
    if word is None:
        return None
    found: dict[Any, Any] = {}
    for one in items:
        if one[word] in found:
            raise Problem(f"names {one[word]!r} twice; keep one of the two")
        found[one[word]] = {key: value for key, value in one.items() if key != word}
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."

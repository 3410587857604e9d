"""Conversion of nested containers to named arrays: the leaves are vectors, each with the path of keys to it."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from merc.encoders.imported.formats import keys
from merc.encoders.imported.formats.budget import Budget
from merc.encoders.imported.formats.pickles import SafeArray
from merc.runtime.errors import UserError

KeyPath = tuple[str | int, ...]  # path of mapping keys (strings) and list indices (integers)
ID_KEYS = (
    "id",
    "ids",
    "key",
    "keys",
    "name",
    "names",
    "filename",
    "filenames",
    "file",
    "utterance",
    "utterance_id",
)
NUMBER_TYPES = (bool, int, float, np.number, np.bool_, type(None))  # null is NaN
MAX_DEPTH = 60  # maximum number of levels; a file of features has about five
FLOAT_BYTES = 4
BYTES_PER_NODE = 8  # of a file: fewer than an utterance's name and a number take
VIEW_NUMBERS = 32  # a view of an array takes the memory of so many numbers
MAX_SHOWN_CHARACTERS = 40  # maximum number of characters of a value in a message


@dataclass(frozen=True)
class InvalidLeaf:
    """An invalid leaf, which is not numeric."""

    reason: str


class LeafWalk:
    """Visits all leaves; refuses more than a file of `size` bytes can hold, which are repeated references."""

    def __init__(self, size: int, budget: Budget) -> None:
        self.nodes, self.budget = max(100_000, size // BYTES_PER_NODE), budget

    def leaves(
        self, node: Any, path: KeyPath = (), depth: int = 0
    ) -> Iterator[tuple[KeyPath, np.ndarray | InvalidLeaf]]:
        """Path and array (steps, width) of each leaf."""
        self._count(depth)
        node = self._counted(node)
        if isinstance(node, Mapping):
            node = _by_id(node)
            for key, value in node.items():
                yield from self.leaves(value, (*path, *keys.path_components(key)), depth + 1)
        elif (array := _array(node)) is not None:
            yield path, array
        else:
            yield from self._list_leaves(list(node), path, depth)

    def _list_leaves(
        self, items: list, path: KeyPath, depth: int
    ) -> Iterator[tuple[KeyPath, np.ndarray | InvalidLeaf]]:
        records = [self._counted(item) for item in items]
        if not path and len(records) == 3 and all(isinstance(record, Mapping) for record in records):
            splits: Mapping = dict(zip(("train", "dev", "test"), records, strict=True))  # as in MELD's pickles
            yield from self.leaves(splits, path, depth + 1)
        elif (by_id := _records(records)) is not None:
            yield from self.leaves(by_id, path, depth + 1)
        else:
            for index, item in enumerate(records):
                yield from self.leaves(item, (*path, index), depth + 1)

    def _count(self, depth: int) -> None:
        """Raise a UserError beyond the limits of depth and size."""
        self.nodes -= 1
        if depth > MAX_DEPTH:
            raise UserError(f"nests more than {MAX_DEPTH} levels deep; no features do")
        if self.nodes < 0:
            raise UserError("holds itself, or the same parts over and over; no features do")

    def _counted(self, node: Any) -> Any:
        """The node, opened; the numbers that it says to hold are counted first: a view repeats them for nothing."""
        if isinstance(node, Mapping):
            for key, value in node.items():
                self.budget.take(FLOAT_BYTES * _count_numbers(value))
                self.budget.take_objects(_count_numbers(value) if key in ID_KEYS else 0)
        else:
            self.budget.take(FLOAT_BYTES * _count_numbers(node))
        return _opened(node)


def _count_numbers(node: Any) -> int:
    """Numbers in an array, a vector or a list of vectors."""
    if isinstance(node, (list, tuple)):
        return len(node) if _are_numbers(node) else sum(map(_length, node))
    return _length(node)


def _length(node: Any) -> int:
    array = node.value if isinstance(node, SafeArray) else node
    if isinstance(array, np.ndarray) or hasattr(array, "detach"):
        vectors = math.prod(array.shape[:-2]) if array.ndim > 2 else 0
        return math.prod(array.shape) + VIEW_NUMBERS * vectors
    return len(array) if isinstance(array, (list, tuple)) else 1


def _opened(node: Any) -> Any:
    """Convert arrays of objects to lists and tensors to arrays; drop leading axes of length 1."""
    if isinstance(node, SafeArray):
        node = node.value
    if hasattr(node, "numpy") and hasattr(node, "detach"):
        node = node.detach().cpu().to_dense().float().numpy()
    if isinstance(node, np.ndarray):
        while node.ndim > 2 and len(node) == 1:
            node = node[0]
        if node.dtype == object or node.ndim > 2:
            return node.item() if node.ndim == 0 else list(node)
    return node


def _array(node: Any) -> np.ndarray | InvalidLeaf | None:
    """Leaf as (steps, width) float32, or the reason why it is invalid; None for a list with further levels."""
    if node is None:
        return np.zeros((0, 0), np.float32)
    if isinstance(node, (str, bytes)):
        return InvalidLeaf(f"{_short(node)} is no number")
    if isinstance(node, NUMBER_TYPES):
        node = [node]
    if isinstance(node, np.ndarray):
        return _numbers(node)
    if not isinstance(node, (list, tuple)):
        return InvalidLeaf(f"a {type(node).__name__} is no number")
    return _vectors(node)


def _vectors(items: list | tuple) -> np.ndarray | InvalidLeaf | None:
    """List of numbers as one step, or of vectors of equal length as steps; None for a list of anything else."""
    if not items:
        return np.zeros((0, 0), np.float32)
    if _are_numbers(items):
        return _numbers(np.array([np.nan if item is None else _float(item) for item in items]))
    items = [_opened(item) for item in items]
    widths = [_width(item) for item in items]
    if None in widths:
        texts = [item for item in items if isinstance(item, (str, bytes))]
        return InvalidLeaf(f"{_short(texts[0])} is no number") if texts else None
    if len(set(widths)) > 1:
        other = next(width for width in widths if width != widths[0])
        return InvalidLeaf(f"its vectors are ragged: {widths[0]} numbers, then {other}")
    arrays = cast("Iterable[np.ndarray]", map(_array, items))
    return _numbers(np.stack([array[0] for array in arrays])) if widths[0] else None


def _width(item: Any) -> int | None:
    """Length of a vector; None if the item is no vector of numbers."""
    if isinstance(item, np.ndarray):
        return len(item) if item.ndim == 1 and item.dtype.kind in "biuf" else None
    return len(item) if isinstance(item, (list, tuple)) and _are_numbers(item) else None


def _are_numbers(items: list | tuple) -> bool:
    return all(issubclass(kind, NUMBER_TYPES) for kind in set(map(type, items)))


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf


def _numbers(array: np.ndarray) -> np.ndarray | InvalidLeaf:
    """Array as (steps, width) float32; numbers out of range become infinite, and are counted as such later."""
    if array.dtype.kind not in "biuf":
        return InvalidLeaf(f"{_short(array.flat[0])} is no number" if array.size else "is no array of numbers")
    with np.errstate(over="ignore"):
        return np.atleast_2d(array).astype(np.float32)


def _by_id(node: Mapping) -> Mapping:
    """Convert {ids: N names, x: N values} to {x: {name: value}}; `x_lengths` are the numbers of valid steps."""
    for word in ID_KEYS:
        names = _column(node.get(word))
        if not names or not all(isinstance(name, (str, bytes, tuple)) for name in names):
            continue
        columns = {key: _column(value, len(names)) for key, value in node.items() if key != word}
        columns = {key: column for key, column in columns.items() if column is not None}
        lengths = {key: columns.pop(f"{key}_lengths", None) for key in list(columns)}
        if columns:
            return {key: _by_name(names, column, lengths[key]) for key, column in columns.items()}
    return node


def _column(value: Any, rows: int | None = None) -> list | None:
    """Value as a list; None if it is no sequence, or not of `rows` items."""
    value = _opened(value)
    if not isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, np.ndarray) and not value.ndim):
        return None
    return list(value) if rows in (None, len(value)) else None


def _by_name(names: list, column: list, lengths: list | None) -> dict[Any, Any]:
    """{name: value}, each value cut to its length."""
    if len(set(names)) < len(names):
        raise UserError(f"names {keys.first_twice(names)!r} twice; keep one of the two")
    if lengths is None or not all(isinstance(length, (int, np.integer)) for length in lengths):
        return dict(zip(names, column, strict=True))
    return {name: value[:length] for name, value, length in zip(names, column, lengths, strict=True)}


def _records(items: list) -> dict[Any, Any] | None:
    """Convert [{id: name, x: value}, ...] to {name: {x: value}}; None if the items are no such records."""
    if not items or not all(isinstance(record, Mapping) for record in items):
        return None
    id_key = next(
        (key for key in ID_KEYS if all(isinstance(record.get(key), (str, tuple)) for record in items)), None
    )
    if id_key is None:
        return None
    by_id: dict[Any, Any] = {}
    for record in items:
        if record[id_key] in by_id:
            raise UserError(f"names {record[id_key]!r} twice; keep one of the two")
        by_id[record[id_key]] = {key: value for key, value in record.items() if key != id_key}
    return by_id


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."

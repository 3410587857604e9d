"""Features that others computed: `read` opens one file of them, whatever its format, and is the only way in."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from merc.encoders.formats import archives, arrays, keys, pickles, tables
from merc.encoders.formats.nested import Odd, Walk, Way
from merc.problem import Problem

FORMATS: dict[str, Callable[[bytes], Any]] = {  # ending -> reader of its content
    ".json": arrays.from_json,
    ".csv": tables.csv_rows,
    ".tsv": tables.csv_rows,
    ".npz": arrays.npz,
    ".npy": arrays.npy,
    ".pt": arrays.torch_file,
    ".pth": arrays.torch_file,
    ".h5": arrays.hdf5,
    ".hdf5": arrays.hdf5,
    ".csd": arrays.hdf5,
    ".safetensors": arrays.safetensors,
    ".parquet": tables.parquet,
    ".pkl": pickles.load,
    ".pickle": pickles.load,
    ".p": pickles.load,
}
ZIP = ".zip"
NESTED = 2  # archives inside archives

Leaf = tuple[Way, np.ndarray | Odd]
Name = tuple[str | None, str, str]  # split, part, name


class Features(dict[str, np.ndarray]):
    """Name -> (steps, width) float32; names are `[split/][part/]name`, what all entries share left out of them.

    A name is `dia<D>_utt<U>`, `dia<D>` for the utterances of a dialogue in order, or the file's own word.
    """

    def __init__(self, entries: dict[Name, np.ndarray], passed_over: dict[str, str]) -> None:
        shared = [len({key[column] for key in entries}) == 1 for column in (0, 1)]
        super().__init__({_word(key, shared): array for key, array in entries.items()})
        self.entries = entries
        self.passed_over = passed_over  # part or file -> why it holds no features

    @property
    def parts(self) -> list[str]:
        """What the file holds features of."""
        return sorted({part for _, part, _ in self.entries})


def read(path: Path | str) -> Features:
    """The features in a file, a zip archive or a folder; a Problem of one line for what cannot be read safely."""
    path, left = Path(path), {}
    if not path.exists():
        raise Problem(f"{path}: not there")
    try:
        if path.is_dir():
            leaves = _members(archives.of_folder(path), left, 1)
        else:
            leaves = _file(path.name, path.read_bytes(), left, 0)
        return _collected(leaves, left)
    except Problem as problem:
        raise Problem(f"{path}: {problem}") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise Problem(f"{path}: cannot be read: {_reason(error)}") from None


def _file(name: str, content: bytes, left: dict[str, str], depth: int) -> Iterator[Leaf]:
    """`depth`: archives and folders around the file; in those, its own name leads to what it holds."""
    stem, ending = Path(name).stem, Path(name).suffix.lower()
    if ending not in FORMATS and ending != ZIP:
        raise Problem(f"of no known format; choose from {', '.join([*FORMATS, ZIP])}")
    if not content:
        raise Problem("is empty")
    split, _ = keys.without_split(stem)
    way = (stem,) if depth or _is_one(stem, ending) else (split,) if split else ()
    if ending == ZIP:
        if depth > NESTED:
            raise Problem("an archive in an archive in an archive; unpack it yourself")
        leaves = _members(archives.of_zip(content), left, depth + 1)
    else:
        leaves = Walk(len(content)).leaves(_parsed(ending, content))
    for inner, array in leaves:
        yield (*way, *inner), array


def _is_one(stem: str, ending: str) -> bool:
    """Whether a file holds one utterance and is named after it."""
    return ending == ".npy" or keys.is_utterance(keys.canonical(stem))


def _parsed(ending: str, content: bytes) -> Any:
    try:
        return FORMATS[ending](content)
    except Problem:
        raise
    except RecursionError:
        raise Problem("nests too deep; no features do") from None
    except Exception as error:  # a broken file can make its parser raise anything
        raise Problem(f"cannot be read as {ending}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120] or 'no reason given'}"


def _members(members: Iterator[archives.Member], left: dict[str, str], depth: int) -> Iterator[Leaf]:
    count = 0
    for member in members:
        place = "/".join(member.way)
        if (ending := Path(place).suffix.lower()) not in FORMATS and ending != ZIP:
            left[place] = "of no known format"
            continue
        count += 1
        try:
            for way, array in _file(member.way[-1], member.read(), left, depth):
                yield (*member.way[:-1], *way), array
        except Problem as problem:
            raise Problem(f"{place}: {problem}") from None
    if not count:
        raise Problem(f"holds no file of a known format; those are {', '.join([*FORMATS, ZIP])}")


def _collected(leaves: Iterator[Leaf], left: dict[str, str]) -> Features:
    """Leaves by split, part and name; a part without any features is passed over, one that has both a mistake."""
    found: dict[Name, np.ndarray] = {}
    odd: dict[str, str] = {}  # part -> the first thing in it that is no features, and why
    for way, array in leaves:
        split, part, name = keys.placed(way)
        if isinstance(array, Odd) or not name:
            reason = array.reason if isinstance(array, Odd) else "no name of an utterance stands beside it"
            odd.setdefault(part, ": ".join(word for word in (part, name, reason) if word))
        elif (split, part, name) in found:
            raise Problem(f"{name}: stands twice, under keys that mean the same; keep one of the two")
        else:
            found[split, part, name] = array
    parts = {part for _, part, _ in found}
    if mistakes := [reason for part, reason in odd.items() if part in parts or not parts]:
        raise Problem(mistakes[0])
    if not parts:
        raise Problem("holds no features")
    return Features(found, left | odd)


def _word(key: Name, shared: list[bool]) -> str:
    split, part, name = key
    return "/".join(word for word in (not shared[0] and split, not shared[1] and part, name) if word)

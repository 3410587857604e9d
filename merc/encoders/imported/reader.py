"""`read` opens a file of precomputed features in any supported format; the only entry point to `formats`."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from merc.encoders.imported.formats import archives, arrays, keys, pickles, tables
from merc.encoders.imported.formats.budget import Budget
from merc.encoders.imported.formats.nested import InvalidLeaf, KeyPath, LeafWalk
from merc.runtime.errors import UserError

FORMATS: dict[str, Callable[[bytes, Budget], Any]] = {  # suffix -> parser of the content
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
MAX_ARCHIVE_DEPTH = 2  # maximum depth of archives inside archives

Leaf = tuple[KeyPath, np.ndarray | InvalidLeaf]
EntryName = tuple[str | None, str, str]  # split, part, name


class Features(dict[str, np.ndarray]):
    """Name -> (steps, width) float32; names are `[split/][part/]name`, without a split or part that all share.

    A name is `dia<D>_utt<U>`, `dia<D>` for the utterances of a dialogue in order, or as in the file.
    """

    def __init__(self, entries: dict[EntryName, np.ndarray], passed_over: dict[str, str]) -> None:
        shared = [len({key[column] for key in entries}) == 1 for column in (0, 1)]
        super().__init__({_joined(key, shared): array for key, array in entries.items()})
        self.entries = entries
        self.passed_over = passed_over  # part or file without features -> reason

    @property
    def parts(self) -> list[str]:
        """Names of the parts of the file, e.g. one per modality."""
        return sorted({part for _, part, _ in self.entries})


def read(path: Path | str) -> Features:
    """Read the features in a file, a zip archive or a folder; raises UserError if that is not safe."""
    path, passed_over = Path(path), {}
    if not path.exists():
        raise UserError(f"{path}: not there")
    if not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: is no regular file")
    try:
        if path.is_dir():
            budget = Budget(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
            leaves = _members(archives.folder_members(path), passed_over, budget, 1)
        else:
            content = path.read_bytes()
            leaves = _file(path.name, content, passed_over, Budget(len(content)), 0)
        return _collected(leaves, passed_over)
    except UserError as problem:
        raise UserError(f"{path}: {problem}") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from None


def _file(name: str, content: bytes, passed_over: dict[str, str], budget: Budget, depth: int) -> Iterator[Leaf]:
    """Leaves of a file in `depth` archives and folders; inside of these, paths start with the file's name."""
    stem, suffix = Path(name).stem, Path(name).suffix.lower()
    if suffix not in FORMATS and suffix != ZIP:
        raise UserError(f"of no known format; choose from {', '.join([*FORMATS, ZIP])}")
    if not content:
        raise UserError("is empty")
    split, _ = keys.without_split(stem)
    path = (stem,) if depth or _is_single_utterance(stem, suffix) else (split,) if split else ()
    if suffix == ZIP:
        if depth > MAX_ARCHIVE_DEPTH:
            raise UserError("an archive in an archive in an archive; unpack it yourself")
        leaves = _members(archives.zip_members(content, budget), passed_over, budget, depth + 1)
    else:
        leaves = LeafWalk(len(content), budget).leaves(_parsed(suffix, content, budget))
    for inner, array in leaves:
        yield (*path, *inner), array


def _is_single_utterance(stem: str, suffix: str) -> bool:
    """Whether a file holds one utterance and is named after it."""
    return suffix == ".npy" or keys.is_utterance(keys.canonical(stem))


def _parsed(suffix: str, content: bytes, budget: Budget) -> Any:
    try:
        return FORMATS[suffix](content, budget)
    except UserError:
        raise
    except RecursionError:
        raise UserError("nests too deep; no features do") from None
    except Exception as error:  # a broken file can cause any error in its parser
        raise UserError(f"cannot be read as {suffix}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120] or 'no reason given'}"


def _members(
    members: Iterator[archives.Member], passed_over: dict[str, str], budget: Budget, depth: int
) -> Iterator[Leaf]:
    """Leaves of the files in an archive or a folder."""
    count = 0
    for member in members:
        name = "/".join(member.path)
        if (suffix := Path(name).suffix.lower()) not in FORMATS and suffix != ZIP:
            passed_over[name] = "of no known format"
            continue
        count += 1
        try:
            for path, array in _file(member.path[-1], member.read(), passed_over, budget, depth):
                yield (*member.path[:-1], *path), array
        except UserError as problem:
            raise UserError(f"{name}: {problem}") from None
    if not count:
        raise UserError(f"holds no file of a known format; those are {', '.join([*FORMATS, ZIP])}")


def _collected(leaves: Iterator[Leaf], passed_over: dict[str, str]) -> Features:
    """Leaves by split, part and name; a part without features is passed over, a part with invalid ones refused."""
    entries: dict[EntryName, np.ndarray] = {}
    invalid: dict[str, str] = {}  # part -> its first invalid leaf and the reason
    for path, array in leaves:
        split, part, name = keys.split_part_and_name(path)
        if isinstance(array, InvalidLeaf) or not name:
            reason = array.reason if isinstance(array, InvalidLeaf) else "no name of an utterance stands beside it"
            invalid.setdefault(part, ": ".join(word for word in (part, name, reason) if word))
        elif (split, part, name) in entries:
            raise UserError(f"{name}: stands twice, under keys that mean the same; keep one of the two")
        else:
            entries[split, part, name] = array
    parts = {part for _, part, _ in entries}
    if reasons := [reason for part, reason in invalid.items() if part in parts or not parts]:
        raise UserError(reasons[0])
    if not parts:
        raise UserError("holds no features")
    return Features(entries, passed_over | invalid)


def _joined(key: EntryName, shared: list[bool]) -> str:
    """`[split/][part/]name` without the shared components."""
    split, part, name = key
    return "/".join(word for word in (not shared[0] and split, not shared[1] and part, name) if word)

"""Which files under data/features, and which part of them, an imported encoder's name means."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from merc.encoders import imported
from merc.encoders.formats import keys
from merc.manifest import SPLITS
from merc.problem import Problem

FOLDER = Path("data/features")
WORDS = {  # of a part's name, by modality
    "text": {"text", "textual", "language", "words"},
    "audio": {"audio", "acoustic", "sound", "voice", "speech"},
    "vision": {"vision", "visual", "video", "face", "faces"},
}
KNOWN = {*imported.FORMATS, imported.ZIP}
LISTED = 6  # names in a message


@dataclass
class Found:
    """What the files of one encoder hold, by split; under None what names no split."""

    entries: dict[str | None, dict[str, np.ndarray]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)  # below data/features/<corpus>
    passed_over: dict[str, str] = field(default_factory=dict)
    width: int = 0


def find(corpus: str, modality: str, name: str) -> Found:
    """Read what `name`, [folder/]file[:part] without its split, means below data/features/<corpus>."""
    place, _, part = name.partition(":")
    found = Found()
    for split, path in _paths(FOLDER / corpus, place):
        features = imported.read(path)
        own = _part(path, features.parts, part, modality)
        found.files.append(path.relative_to(FOLDER / corpus).as_posix())
        found.passed_over |= {f"{found.files[-1]}: {key}": why for key, why in features.passed_over.items()}
        for (inside, group, key), array in features.entries.items():
            if group == own:
                found.entries.setdefault(inside or split, {})[key] = array
    found.width = _width(found)
    return found


def _paths(folder: Path, place: str) -> list[tuple[str | None, Path]]:
    """The files of a name, or else its folders, by split: at most one a split, or one for all."""
    files, folders = _below(folder)
    fit = _fitting(folder, files, place) or _fitting(folder, folders, place)
    if not fit:
        known = ", ".join(sorted({_named(path.relative_to(folder))[1] for path in files})[:LISTED]) or "nothing"
        raise Problem(f"{folder}: holds no features called {place!r}; there are: {known}")
    splits = [split for split, _ in fit]
    if len(set(splits)) < len(splits) or (None in splits and len(splits) > 1):
        names = ", ".join(path.relative_to(folder).as_posix() for _, path in fit[:LISTED])
        raise Problem(f"{folder}: {place!r} may be any of {names}; name one with its ending, or rename the others")
    return sorted(fit, key=lambda one: SPLITS.index(one[0]) if one[0] else 0)


def _below(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of known formats, and the folders."""
    if not folder.is_dir():
        raise Problem(f"{folder}: not there; put the features of this corpus under it (data/features/README.md)")
    paths = sorted(folder.rglob("*"))
    folders = [path for path in paths if path.is_dir()]
    return [path for path in paths if path.suffix.lower() in KNOWN and path.is_file()], folders


def _fitting(folder: Path, paths: list[Path], place: str) -> list[tuple[str | None, Path]]:
    """Split and path of those that the name may mean, with or without ending; nothing below another one."""
    ending = Path(place).suffix if Path(place).suffix.lower() in KNOWN else ""
    fit: list[tuple[str | None, Path]] = []
    for path in paths:
        split, name = _named(path.relative_to(folder))
        named = f"/{name}".endswith(f"/{place.removesuffix(ending)}") and path.suffix.endswith(ending)
        if named and not any(other in path.parents for _, other in fit):
            fit.append((split, path))
    return fit


def _named(path: Path) -> tuple[str | None, str]:
    """The split in a path and what is left of it: train_features/audio.json is train's features/audio."""
    split, words = None, []
    for step in (path.with_suffix("") if path.suffix.lower() in KNOWN else path).parts:
        own, word = keys.without_split(step)
        split, words = own or split, words + ([word] if word else [])
    return split, "/".join(words)


def _part(path: Path, parts: list[str], wanted: str, modality: str) -> str:
    """The part that is asked for by name or by its last steps, or the modality's, or the only one."""
    fit = [part for part in parts if part == wanted or part.endswith(f"/{wanted}")] if wanted else parts
    if not wanted and len(fit) > 1:
        fit = [part for part in parts if WORDS[modality] & set(keys.BREAKS.split(part.replace("/", "_").lower()))]
    if len(fit) != 1:
        names = ", ".join(part or "(unnamed)" for part in parts[:LISTED])
        remedy = f"write encoder: imported/<name>:<part> for encode.{modality}"
        raise Problem(f"{path}: holds {len(parts)} parts ({names}), {len(fit)} fit; {remedy}")
    return fit[0]


def _width(found: Found) -> int:
    """The one width of all vectors."""
    first, width = "", 0
    for split, entries in found.entries.items():
        for key, array in entries.items():
            if array.size and not width:
                first, width = key, array.shape[1]
            if array.size and array.shape[1] != width:
                place = f"{', '.join(found.files)}: {split or 'any split'}"
                raise Problem(
                    f"{place}: {key} is {array.shape[1]} numbers wide, {first} {width}; all must be alike"
                )
    if not width:
        raise Problem(f"{', '.join(found.files)}: holds no vector")
    return width

"""Search under data/features for the files, and the part in them, that an imported encoder's name means."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from merc.data.records.manifest import SPLITS
from merc.encoders.imported import reader
from merc.encoders.imported.formats import keys
from merc.runtime.errors import UserError

FEATURES_FOLDER = Path("data/features")
MODALITY_WORDS = {  # words in the name of a part, by modality
    "text": {"text", "textual", "language", "words"},
    "audio": {"audio", "acoustic", "sound", "voice", "speech"},
    "vision": {"vision", "visual", "video", "face", "faces"},
}
KNOWN_SUFFIXES = {*reader.FORMATS, reader.ZIP}
MAX_NAMES = 6  # maximum number of names in a message


@dataclass
class FeatureFiles:
    """Content of the files of one encoder, by split; None: of no named split."""

    entries: dict[str | None, dict[str, np.ndarray]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)  # relative to data/features/<corpus>
    passed_over: dict[str, str] = field(default_factory=dict)  # item without features -> reason
    width: int = 0


def find_features(corpus: str, modality: str, name: str) -> FeatureFiles:
    """Read the files that `name`, [folder/]file[:part] without a split, means below data/features/<corpus>."""
    pattern, _, wanted = name.partition(":")
    files = FeatureFiles()
    for split, path in _paths(FEATURES_FOLDER / corpus, pattern):
        features = reader.read(path)
        part = _part(path, features.parts, wanted, modality)
        files.paths.append(path.relative_to(FEATURES_FOLDER / corpus).as_posix())
        files.passed_over |= {f"{files.paths[-1]}: {key}": reason for key, reason in features.passed_over.items()}
        for (inner_split, inner_part, key), array in features.entries.items():
            if inner_part == part:
                files.entries.setdefault(inner_split or split, {})[key] = array
    files.width = _width(files)
    return files


def _paths(folder: Path, name: str) -> list[tuple[str | None, Path]]:
    """Split and path of the files of a name, else of its folders: at most one per split, or one for all splits."""
    files, folders = _files_and_folders(folder)
    matches = _matches(folder, files, name) or _matches(folder, folders, name)
    if not matches:
        names = ", ".join(sorted({_split_and_name(path.relative_to(folder))[1] for path in files})[:MAX_NAMES])
        raise UserError(f"{folder}: holds no features called {name!r}; there are: {names or 'nothing'}")
    splits = [split for split, _ in matches]
    if len(set(splits)) < len(splits) or (None in splits and len(splits) > 1):
        names = ", ".join(path.relative_to(folder).as_posix() for _, path in matches[:MAX_NAMES])
        raise UserError(f"{folder}: {name!r} may be any of {names}; name one with its ending, or rename the others")
    return sorted(matches, key=lambda match: SPLITS.index(match[0]) if match[0] else 0)


def _files_and_folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of known formats and the folders below a folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not there; put the features of this corpus under it (data/features/README.md)")
    paths = sorted(folder.rglob("*"))
    folders = [path for path in paths if path.is_dir()]
    return [path for path in paths if path.suffix.lower() in KNOWN_SUFFIXES and path.is_file()], folders


def _matches(folder: Path, paths: list[Path], name: str) -> list[tuple[str | None, Path]]:
    """Split and path of all that the name may mean, with or without suffix; no path below another match."""
    suffix = Path(name).suffix if Path(name).suffix.lower() in KNOWN_SUFFIXES else ""
    matches: list[tuple[str | None, Path]] = []
    for path in paths:
        split, path_name = _split_and_name(path.relative_to(folder))
        fits = f"/{path_name}".endswith(f"/{name.removesuffix(suffix)}") and path.suffix.endswith(suffix)
        if fits and not any(other in path.parents for _, other in matches):
            matches.append((split, path))
    return matches


def _split_and_name(path: Path) -> tuple[str | None, str]:
    """The split in a path, and the path without it: train_features/audio.json is (train, features/audio)."""
    split, words = None, []
    for part in (path.with_suffix("") if path.suffix.lower() in KNOWN_SUFFIXES else path).parts:
        part_split, word = keys.without_split(part)
        split, words = part_split or split, words + ([word] if word else [])
    return split, "/".join(words)


def _part(path: Path, parts: list[str], wanted: str, modality: str) -> str:
    """The part that is named, in full or by the end of its path; without a name the modality's, or the only one."""
    matches = [part for part in parts if part == wanted or part.endswith(f"/{wanted}")] if wanted else parts
    if not wanted and len(matches) > 1:
        words = {part: set(keys.WORD_SEPARATORS.split(part.replace("/", "_").lower())) for part in parts}
        matches = [part for part in parts if MODALITY_WORDS[modality] & words[part]]
    if len(matches) != 1:
        names = ", ".join(part or "(unnamed)" for part in parts[:MAX_NAMES])
        remedy = f"write encoder: imported/<name>:<part> for encode.{modality}"
        raise UserError(f"{path}: holds {len(parts)} parts ({names}), {len(matches)} fit; {remedy}")
    return matches[0]


def _width(files: FeatureFiles) -> int:
    """The width of all vectors; raises a UserError if they differ."""
    widths = [
        (split, key, array.shape[1])
        for split, entries in files.entries.items()
        for key, array in entries.items()
        if array.size
    ]
    if not widths:
        raise UserError(f"{', '.join(files.paths)}: holds no vector")
    _, first, width = widths[0]
    for split, key, other in widths:
        if other != width:
            location = f"{', '.join(files.paths)}: {split or 'any split'}"
            raise UserError(f"{location}: {key} is {other} numbers wide, {first} {width}; all must be alike")
    return width

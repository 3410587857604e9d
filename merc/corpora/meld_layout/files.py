"""Find MELD's tables and clips on disk, however they were unpacked or rearranged."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merc.data.records.manifest import SPLITS

# folder name -> split: the official archives' names, then those of copies
SPLIT_FOLDERS = {
    "train_splits": "train",
    "dev_splits_complete": "dev",
    "output_repeated_splits_test": "test",
    "dev_splits": "dev",
    "test_splits": "test",
    "train": "train",
    "dev": "dev",
    "val": "dev",
    "validation": "dev",
    "test": "test",
}
CLIP_PATTERN = re.compile(r"(final_videos_test)?dia(\d{1,9})_utt(\d{1,9})\.mp4")
TABLE_PATTERN = re.compile(rf"({'|'.join(SPLITS)})_sent_emo\.csv")
TWIN_KINDS = {None: "plain", "final_videos_test": "final"}


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk."""

    path: Path
    name: str  # path relative to the searched folder


@dataclass
class LayoutFiles:
    """Tables and clips in a MELD folder, with report entries."""

    tables: dict[str, Path] = field(default_factory=dict)  # split -> CSV
    # (split, dialogue, utterance) -> kind -> clip
    clips: dict[tuple[str, int, int], dict[str, ClipFile]] = field(default_factory=dict)
    ignored: list[dict[str, Any]] = field(default_factory=list)
    decided: list[dict[str, Any]] = field(default_factory=list)


def find_files(*folders: Path) -> LayoutFiles:
    """Find every table and clip below the folders, following links."""
    files = LayoutFiles()
    for folder in folders:
        for path in _walk(folder):
            _add(path, path.relative_to(folder).as_posix(), files)
    return files


def folder_split(path: str) -> str | None:
    """Split named by the innermost folder of a relative path."""
    return next((SPLIT_FOLDERS[part] for part in reversed(path.split("/")[:-1]) if part in SPLIT_FOLDERS), None)


def splits_without_clips(files: LayoutFiles) -> list[str]:
    """Splits without any clip."""
    return [split for split in SPLITS if not any(key[0] == split for key in files.clips)]


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all files breadth-first, in an order that does not depend on the file system."""
    level, visited = [folder] if folder.is_dir() else [], set()
    while level:
        subfolders = []
        for current in level:
            if (real_path := os.path.realpath(current)) in visited:  # a link to a parent folder
                continue
            visited.add(real_path)
            entries = sorted(current.iterdir(), key=lambda path: path.name)
            yield from (path for path in entries if not path.is_dir())
            subfolders += [path for path in entries if path.is_dir() and not path.name.startswith(".")]
        level = subfolders


def _add(path: Path, name: str, files: LayoutFiles) -> None:
    """Add a file to the tables, clips or ignored files."""
    split = folder_split(name)
    if match := TABLE_PATTERN.fullmatch(path.name):
        _add_table(match[1], path, name, files)
    elif match := CLIP_PATTERN.fullmatch(path.name):
        _add_clip(split, match, ClipFile(path, name), files)
    elif path.name.startswith(".") and path.suffix == ".mp4":
        files.ignored.append({"split": split, "item": name, "reason": "hidden file (of macOS's archiver)"})
    elif path.suffix == ".mp4":
        files.ignored.append({"split": split, "item": name, "reason": "not a name of MELD's: dia<D>_utt<U>.mp4"})


def _add_table(split: str, path: Path, name: str, files: LayoutFiles) -> None:
    if split in files.tables:
        files.ignored.append({"split": split, "item": name, "reason": "a second table of this split"})
    files.tables.setdefault(split, path)


def _add_clip(split: str | None, match: re.Match[str], clip: ClipFile, files: LayoutFiles) -> None:
    if split is None:
        files.ignored.append({"split": None, "item": clip.name, "reason": "in no split's folder"})
        return
    twins = files.clips.setdefault((split, int(match[2]), int(match[3])), {})
    kind = TWIN_KINDS[match[1]]
    if kind in twins:
        files.ignored.append({"split": split, "item": clip.name, "reason": f"a second copy of {twins[kind].name}"})
    twins.setdefault(kind, clip)

"""Finds MELD's tables and clips, however they were unpacked or rearranged."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merc.manifest import SPLITS

# folder names: the official archives', then those of copies
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
CLIP = re.compile(r"(final_videos_test)?dia(\d{1,9})_utt(\d{1,9})\.mp4")
TABLE = re.compile(rf"({'|'.join(SPLITS)})_sent_emo\.csv")
KINDS = {None: "plain", "final_videos_test": "final"}


@dataclass(frozen=True)
class Clip:
    path: Path
    name: str  # below the corpus's folder


@dataclass
class Files:
    """What lies in a MELD folder."""

    tables: dict[str, Path] = field(default_factory=dict)  # split -> CSV
    clips: dict[tuple[str, int, int], dict[str, Clip]] = field(default_factory=dict)  # key -> plain and final twin
    ignored: list[dict[str, Any]] = field(default_factory=list)
    decided: list[dict[str, Any]] = field(default_factory=list)


def find(*folders: Path) -> Files:
    """Every table and clip below the folders, links followed."""
    files = Files()
    for place in folders:
        for path in _walk(place):
            _sort(path, path.relative_to(place).as_posix(), files)
    return files


def without_clips(files: Files) -> list[str]:
    """The splits of which there is no clip."""
    return [split for split in SPLITS if not any(key[0] == split for key in files.clips)]


def _walk(folder: Path) -> Iterator[Path]:
    """All files, the shallow before the deep, in an order that no file system decides."""
    level, seen = [folder] if folder.is_dir() else [], set()
    while level:
        below = []
        for place in level:
            if (real := os.path.realpath(place)) in seen:  # a link to a folder above
                continue
            seen.add(real)
            entries = sorted(place.iterdir(), key=lambda path: path.name)
            yield from (path for path in entries if not path.is_dir())
            below += [path for path in entries if path.is_dir() and not path.name.startswith(".")]
        level = below


def _sort(path: Path, name: str, files: Files) -> None:
    split = next((SPLIT_FOLDERS[part] for part in reversed(name.split("/")[:-1]) if part in SPLIT_FOLDERS), None)
    if match := TABLE.fullmatch(path.name):
        _add_table(match[1], path, name, files)
    elif match := CLIP.fullmatch(path.name):
        _add_clip(split, match, Clip(path, name), files)
    elif path.name.startswith(".") and path.suffix == ".mp4":
        files.ignored.append({"split": split, "item": name, "reason": "hidden file (of macOS's archiver)"})
    elif path.suffix == ".mp4":
        files.ignored.append({"split": split, "item": name, "reason": "not a name of MELD's: dia<D>_utt<U>.mp4"})


def _add_table(split: str, path: Path, name: str, files: Files) -> None:
    if split in files.tables:
        files.ignored.append({"split": split, "item": name, "reason": "a second table of this split"})
    files.tables.setdefault(split, path)


def _add_clip(split: str | None, match: re.Match[str], clip: Clip, files: Files) -> None:
    if split is None:
        files.ignored.append({"split": None, "item": clip.name, "reason": "in no split's folder"})
        return
    twins = files.clips.setdefault((split, int(match[2]), int(match[3])), {})
    kind = KINDS[match[1]]
    if kind in twins:
        files.ignored.append({"split": split, "item": clip.name, "reason": f"a second copy of {twins[kind].name}"})
    twins.setdefault(kind, clip)

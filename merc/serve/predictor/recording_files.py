"""Resolves paths of the user to recordings: media files, and folders of clips in natural order."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from merc.runtime.errors import UserError

VIDEO = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv")
AUDIO = (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aiff")
MEDIA_SUFFIXES = VIDEO + AUDIO
MELD = re.compile(r"dia(\d+)_utt(\d+)")  # MELD's file names: dialogue and utterance number


@dataclass(frozen=True)
class Recording:
    """A media file and the dialogue that it belongs to."""

    path: Path
    name: str  # unique among the recordings
    dialogue: str


def recordings(paths: str | Path | Iterable[str | Path]) -> list[Recording]:
    """Files are one dialogue in the given order; a folder is one, or several by MELD's names (dia0_utt3.mp4)."""
    paths = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not paths:
        raise UserError("no file to predict from: name a clip, a folder of clips, or a video")
    files = [pair for number, path in enumerate(paths) for pair in _files_of(path, number)]
    names = _unique_names([path for path, _ in files])
    return [Recording(path, name, dialogue) for (path, dialogue), name in zip(files, names, strict=True)]


def _files_of(path: Path, number: int) -> list[tuple[Path, str]]:
    """(file, dialogue) pairs of the user's path with this index."""
    if path.is_dir():
        clips = _clips_in(path)
        matches = [MELD.fullmatch(clip.stem) for clip in clips]
        has_dialogues = all(matches)
        return [
            (clip, f"{number}/{match[1] if match and has_dialogues else ''}")
            for clip, match in zip(clips, matches, strict=True)
        ]
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if not path.is_file():
        raise UserError(f"{path}: is neither a file nor a folder")
    # FFmpeg takes what stands before a colon for a protocol, unless the path is absolute
    return [(path.absolute() if ":" in str(path) else path, "")]


def _clips_in(folder: Path) -> list[Path]:
    """Media files of a folder in natural order."""
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    clips = [path for path in files if path.suffix.lower() in MEDIA_SUFFIXES]
    if not clips:
        raise UserError(f"{folder}: holds no clip ({', '.join(VIDEO[:5])}, {', '.join(AUDIO[:4])} ...)")
    return sorted(clips, key=lambda path: natural(path.name))


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key of natural order: clip2 before clip10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """File stems; with the suffix where a stem occurs twice, and with a number where the whole name does."""
    stems = [path.stem for path in paths]
    names = [path.name if stems.count(path.stem) > 1 else path.stem for path in paths]
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name}~{counts[name]}")
    return unique

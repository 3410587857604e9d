"""Which recordings a user means: files, and folders of clips in natural order."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from merc.problem import Problem

VIDEO = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv")
AUDIO = (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aiff")
MELD = re.compile(r"dia(\d+)_utt(\d+)")  # MELD's own file names: the dialogue, and the utterance in it


@dataclass(frozen=True)
class Recording:
    """A file to read, and the dialogue that it belongs to."""

    path: Path
    name: str  # unique among the recordings
    dialogue: str


def recordings(paths: str | Path | Iterable[str | Path]) -> list[Recording]:
    """Files are one dialogue in the order given; a folder is one, or several if its names tell (dia0_utt3.mp4)."""
    asked = [Path(paths)] if isinstance(paths, str | Path) else [Path(one) for one in paths]
    if not asked:
        raise Problem("no file to predict from: name a clip, a folder of clips, or a video")
    found = [pair for number, path in enumerate(asked) for pair in _of(path, number)]
    names = _names([path for path, _ in found])
    return [Recording(path, name, dialogue) for (path, dialogue), name in zip(found, names, strict=True)]


def _of(path: Path, number: int) -> list[tuple[Path, str]]:
    """(file, dialogue) of what one word of the command line names."""
    if path.is_dir():
        inside = _inside(path)
        told = [MELD.fullmatch(one.stem) for one in inside]
        several = all(told)
        return [(one, f"{number}/{match[1] if several else ''}") for one, match in zip(inside, told, strict=True)]
    if not path.exists():
        raise Problem(f"{path}: no such file or folder")
    if not path.is_file():
        raise Problem(f"{path}: is neither a file nor a folder")
    # what has a colon in its beginning would be a protocol to FFmpeg
    return [(path.absolute() if ":" in str(path) else path, "")]


def _inside(folder: Path) -> list[Path]:
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise Problem(f"{folder}: cannot be read: {error.strerror}") from None
    clips = [path for path in files if path.suffix.lower() in VIDEO + AUDIO]
    if not clips:
        raise Problem(f"{folder}: holds no clip ({', '.join(VIDEO[:5])}, {', '.join(AUDIO[:4])} ...)")
    return sorted(clips, key=lambda path: natural(path.name))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sorting key by which clip2 comes before clip10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _names(paths: Sequence[Path]) -> list[str]:
    """The file names without their endings; of those that occur twice with it, and then with a number."""
    stems = [path.stem for path in paths]
    names = [path.name if stems.count(path.stem) > 1 else path.stem for path in paths]
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return unique

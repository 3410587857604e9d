"""MELD's defects, planted one each, never in the first dialogue of a split."""

from pathlib import Path

import numpy as np

from merc.synthesis import mp4
from merc.synthesis.espeak import RATE
from merc.synthesis.scene import Scene
from merc.synthesis.voice import FRAMES, STEP

OVERLONG_SECONDS = 20
HELD_SECONDS = 4  # longer than any sentence
REPAIRED, BROKEN = "\u2019", "\u0092"  # an apostrophe, and what cp1252 read as Latin-1 makes of it
LOST = {"corrupt": ("audio", "vision"), "missing": ("audio", "vision"), "near-zero": ("audio",)}


def write(path: Path, defect: str, scene: Scene, sound: np.ndarray) -> float:
    """Write a scene's clip as the defect has it; the seconds that its label row spans."""
    pictures = scene.pictures()
    if defect in _SPOILED:
        return _SPOILED[defect](path, pictures, sound)
    mp4.write(path, pictures, sound)
    return len(sound) / RATE


def still_shown(shown: tuple[str, ...], defect: str) -> tuple[str, ...]:
    """The modalities that show the emotion although the clip has this defect."""
    return tuple(modality for modality in shown if modality not in LOST.get(defect, ()))


def pictures_left(defect: str, count: int) -> int:
    """How many of a clip's pictures there are to see."""
    return 1 if defect == "near-zero" else count


def apple_double(clip: Path) -> None:
    """The file that macOS leaves beside a clip on foreign disks."""
    head = bytes.fromhex("00051607 00020000") + b"Mac OS X        "
    clip.with_name(f"._{clip.name}").write_bytes(head.ljust(82, b"\0"))


def _corrupt(path: Path, pictures, sound: np.ndarray) -> float:
    """Cut off before the index (moov) that an .mp4 ends with."""
    mp4.write(path, pictures, sound)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"moov") - 4])
    return len(sound) / RATE


def _missing(path: Path, pictures, sound: np.ndarray) -> float:
    return len(sound) / RATE


def _near_zero(path: Path, pictures, sound: np.ndarray) -> float:
    mp4.write(path, [next(pictures)], sound[:STEP])
    return STEP / RATE


def _overlong(path: Path, pictures, sound: np.ndarray) -> float:
    return _held(path, pictures, sound, OVERLONG_SECONDS * FRAMES)


def _mistaken(path: Path, pictures, sound: np.ndarray) -> float:
    """Longer than any label row that the clip could be meant for."""
    return _held(path, pictures, sound, len(sound) // STEP + HELD_SECONDS * FRAMES)


def _held(path: Path, pictures, sound: np.ndarray, count: int) -> float:
    """The right beginning, then silence before a still picture; so many pictures in all."""
    shown = list(pictures)
    mp4.write(path, shown + [shown[-1]] * (count - len(shown)), np.pad(sound, (0, count * STEP - len(sound))))
    return len(sound) / RATE


_SPOILED = {
    "corrupt": _corrupt,
    "missing": _missing,
    "near-zero": _near_zero,
    "overlong": _overlong,
    "mistaken": _mistaken,
}

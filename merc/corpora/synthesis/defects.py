"""MELD's defects, reproduced in the synthetic corpus: one of each kind, never in the first dialogue of a split."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from merc.corpora.synthesis.picture import mp4
from merc.corpora.synthesis.picture.scene import Scene
from merc.corpora.synthesis.voice.espeak import ESPEAK_RATE
from merc.corpora.synthesis.voice.voice import FRAME_RATE, SAMPLES_PER_FRAME

OVERLONG_SECONDS = 20
HELD_SECONDS = 4  # longer than any sentence
APOSTROPHE, MOJIBAKE = "\u2019", "\u0092"  # an apostrophe in Unicode, and its cp1252 byte decoded as Latin-1
# defect -> modalities that are lost
LOST_MODALITIES = {"corrupt": ("audio", "vision"), "missing": ("audio", "vision"), "near-zero": ("audio",)}


def write_clip(path: Path, defect: str, scene: Scene, sound: np.ndarray) -> float:
    """Write a scene's clip with the defect (or none, ""); returns the duration in its label row, in seconds."""
    pictures, seconds = scene.pictures(), len(sound) / ESPEAK_RATE
    if defect == "missing":
        return seconds
    if defect == "near-zero":
        pictures, sound = [next(pictures)], sound[:SAMPLES_PER_FRAME]
        seconds = SAMPLES_PER_FRAME / ESPEAK_RATE
    elif defect == "overlong":  # far beyond its label row
        pictures, sound = _extended(pictures, sound, OVERLONG_SECONDS * FRAME_RATE)
    elif defect == "mistaken":  # longer than any label row, so that it fits none by its duration
        frames = len(sound) // SAMPLES_PER_FRAME + HELD_SECONDS * FRAME_RATE
        pictures, sound = _extended(pictures, sound, frames)
    mp4.write_mp4(path, pictures, sound)
    if defect == "corrupt":  # truncated before the index (moov) at the end of an .mp4
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b"moov") - 4])
    return seconds


def still_shown(shown: tuple[str, ...], defect: str) -> tuple[str, ...]:
    """Modalities that still show the emotion in a clip with this defect."""
    return tuple(modality for modality in shown if modality not in LOST_MODALITIES.get(defect, ()))


def frames_left(defect: str, count: int) -> int:
    """Number of frames left of a clip with this defect."""
    return 1 if defect == "near-zero" else count


def apple_double(clip: Path) -> None:
    """Write the AppleDouble file that macOS leaves beside a file on other file systems."""
    head = bytes.fromhex("00051607 00020000") + b"Mac OS X        "
    clip.with_name(f"._{clip.name}").write_bytes(head.ljust(82, b"\0"))


def _extended(pictures: Iterable[np.ndarray], sound: np.ndarray, num_frames: int) -> tuple[list, np.ndarray]:
    """Extend a clip to `num_frames` by its repeated last frame and silence."""
    frames = list(pictures)
    silence = num_frames * SAMPLES_PER_FRAME - len(sound)
    return frames + [frames[-1]] * (num_frames - len(frames)), np.pad(sound, (0, silence))

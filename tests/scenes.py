"""Small made-up clips: a sound with a changing loudness, and faces whose mouths open with it or with another."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from merc.data.records import face_tracks, truth
from merc.data.records import manifest as manifests
from merc.data.records.face_tracks import Track

SAMPLES = 640  # of sound a picture


def loudness(random: np.random.Generator, pictures: int) -> np.ndarray:
    """(pictures,) syllables, 0 to 1."""
    knots = np.arange(0, pictures + 3, 3)
    return np.clip(np.interp(np.arange(pictures), knots, random.uniform(-0.25, 1.25, len(knots))), 0, 1)


def sound(random: np.random.Generator, level: np.ndarray) -> np.ndarray:
    """(samples,) float32: noise as loud as the level says."""
    return (random.normal(0, 0.1, len(level) * SAMPLES) * np.repeat(level, SAMPLES)).astype(np.float32)


def face(random: np.random.Generator, level: np.ndarray, left: float, gain: float = 1.0, first: int = 0) -> Track:
    """A face of 60 pixels at `left`, its mouth as open as the level says, up to `gain` times 12 pixels."""
    skin = random.integers(120, 200)
    crops = np.full((len(level), 64, 64, 3), skin, np.uint8)
    for crop, opening in zip(crops, level, strict=True):
        half = round(float(opening) * 6 * gain)
        crop[48 - half : 48 + half, 22:42] = 40
    boxes = np.tile(np.array([[left, 20, 60, 60]], np.float32), (len(level), 1))
    return Track(np.arange(first, first + len(level), dtype=np.int32), boxes, crops)


def conversation(seed: int, pictures: int = 40) -> tuple[list[Track], np.ndarray, int]:
    """Two faces and a sound: tracks, samples, and which track speaks; the other one moves its mouth more."""
    random = np.random.default_rng(seed)
    heard, other = loudness(random, pictures), loudness(random, pictures)
    speaks = int(random.integers(2))
    pair = [face(random, heard, 10.0), face(random, other, 200.0, gain=1.6)]
    return pair if speaks == 0 else pair[::-1], sound(random, heard), speaks


def extracted(split: str, corpus: str, count: int, seed: int, *, known: bool = True) -> None:
    """What extract would leave of `count` such conversations, in dialogues of four, below the current directory."""
    folder = manifests.split_folder(split, corpus)
    for name in ("audio", "tracks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    facts = [_conversation(folder, f"dia{row // 4}_utt{row % 4}", seed + row) for row in range(count)]
    truth.write_truth(folder / "truth.parquet", facts if known else [])
    manifests.write_manifest(folder / "manifest.parquet", rows(split, corpus, count))


def rows(split: str, corpus: str, count: int) -> pd.DataFrame:
    """A manifest with everything there; what is said goes with the emotion."""
    table = pd.DataFrame({name: [None] * count for name in manifests.SCHEMA.names})
    if not count:
        return table
    number = np.arange(count)
    table["corpus"], table["split"] = corpus, split
    table["dialogue"], table["turn"] = [f"dia{n // 4}" for n in number], number % 4
    table["utterance"] = [f"dia{n // 4}_utt{n % 4}" for n in number]
    table["group"] = corpus + "/" + split + "/" + table["dialogue"]
    table["speaker"] = np.where(number % 2, "Ann", "Bob")
    table["emotion"] = np.where(number % 3, "joy", "anger")
    table["sentiment"] = np.where(number % 3, "positive", "negative")
    table["text"] = np.where(number % 3, "what a wonderful day", "I hate all of this")
    table["wav"] = "audio/" + table["utterance"] + ".wav"
    table["tracks"] = "tracks/" + table["utterance"] + ".safetensors"
    for modality in manifests.MODALITIES:
        table[f"{modality}_status"], table[f"{modality}_reason"] = "ok", ""
    return table


def _conversation(folder: Path, utterance: str, seed: int) -> dict:
    tracks, samples, speaks = conversation(seed)
    (folder / "tracks" / f"{utterance}.safetensors").write_bytes(face_tracks.tracks_to_bytes(tracks))
    soundfile.write(folder / "audio" / f"{utterance}.wav", samples, 16_000, subtype="PCM_16")
    boxes = [
        {"character": number, "left": int(track.boxes[0, 0]), "top": 20, "width": 60, "height": 60}
        for number, track in enumerate(tracks)
    ]
    unknown = dict.fromkeys(truth.SCHEMA.names)
    return unknown | {"utterance": utterance, "boxes": boxes, "speaker_face": speaks, "faces": len(boxes)}

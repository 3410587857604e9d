"""Inputs of a model: text, sound and pictures of each utterance, from extract's files or the corpus's own."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from merc.data.records import encoder_inputs
from merc.data.records import manifest as manifests
from merc.data.records.encoder_inputs import AudioInput, TextInput, VisionInput, waveform
from merc.media import clip_reader
from merc.runtime.errors import UserError
from merc.studies.scoring.reference import RAW, Reference

LIMITS = clip_reader.Limits(0.2, 15.0)  # seconds of a sound that is read from the corpus's own file


class ModelInput(NamedTuple):
    """One utterance."""

    text: TextInput | None
    sound: AudioInput | None
    face: VisionInput | None  # the largest face, else the whole picture


def read_inputs(ref: Reference, split: str, first: int, last: int, needed: frozenset[str]) -> list[ModelInput]:
    """The inputs of rows first:last of a split; media that are not in `needed` (text, audio, vision) are None."""
    rows = ref.manifests[split].iloc[first:last]
    none, folder = [None] * len(rows), manifests.split_folder(split, ref.protocol.corpus)
    texts = encoder_inputs.text_inputs(folder, rows)
    sounds = _sounds(ref, folder, rows) if "audio" in needed else none
    if "vision" in needed and not ref.knows_media:
        raise UserError(f"{folder}: pictures are read from what `dvc repro extract` writes, and it has not run")
    faces = encoder_inputs.face_inputs(folder, rows) if "vision" in needed else none
    texts = [text if text is not None and text.text else None for text in texts]
    return [ModelInput(*one) for one in zip(texts, sounds, faces, strict=True)]


def _sounds(ref: Reference, folder: Path, rows: pd.DataFrame) -> list[AudioInput | None]:
    if ref.knows_media:
        return encoder_inputs.audio_inputs(folder, rows)
    return [_of_clip(RAW / ref.protocol.corpus, clip) for clip in rows["clip"]]


def _of_clip(folder: Path, clip: object) -> AudioInput | None:
    if not isinstance(clip, str):
        return None
    sound, _ = clip_reader.read_clip(folder / clip, LIMITS, ticks=False)
    return None if sound.samples is None else AudioInput(waveform(sound.samples))

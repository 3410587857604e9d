"""Choice of the speaking face of a clip: by the lip-sync network, else the largest face."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from merc.data.records.encoder_inputs import AudioInput, largest_track
from merc.data.records.face_tracks import Track
from merc.encoders.lipsync import clip_inputs
from merc.encoders.lipsync.candidates import MIN_PICTURES
from merc.encoders.lipsync.clip_inputs import LipSyncClip

SpeakerScorer = Callable[[LipSyncClip], np.ndarray]  # evidence (K,) that each of a clip's tracks is the speaker


def choose_speaker(tracks: list[Track], sound: AudioInput | None, scorer: SpeakerScorer | None) -> int | None:
    """Index of the speaking track; None without tracks."""
    if len(tracks) < 2 or sound is None or scorer is None:
        return largest_track(tracks)
    clip = clip_inputs.align_clip(tracks, sound.samples, sound.start)
    return int(np.argmax(scorer(clip))) if len(clip) >= MIN_PICTURES else largest_track(tracks)


def load_scorer(folder: Path) -> SpeakerScorer | None:
    """Load the network from a folder of the lip-sync stage; None if the stage is off."""
    if not (folder / "model.safetensors").is_file():
        return None
    from merc.encoders.lipsync import synchrony
    from models import lipsync

    network = lipsync.load(folder)
    return lambda clip: synchrony.synchrony_evidence(network, clip)[:, 0]

"""The trained lip-sync network: its evidence on clips, the choice of the speaking face, its towers as encoders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from merc.data.records.encoder_inputs import AudioInput, largest_track
from merc.data.records.face_tracks import Track
from merc.encoders.lipsync import clip_inputs
from merc.encoders.lipsync.candidates import MIN_PICTURES
from merc.encoders.lipsync.clip_inputs import LipSyncClip
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from models import lipsync

SpeakerScorer = Callable[[LipSyncClip], np.ndarray]  # evidence (K,) that each of a clip's tracks is the speaker
# of a tower as an encoder: pictures on either side of an embedding; the ends are padded by repetition
CONTEXT_PICTURES = lipsync.WINDOW_FRAMES // 2


@torch.inference_mode()
def synchrony_evidence(network: nn.Module, clip: LipSyncClip) -> np.ndarray:
    """Evidence (K, W) of each track of a clip for each circular shift of the sound; column 0 is no shift."""
    return network(*collate_clips([clip], device_of(network))).cpu().numpy()


def collate_clips(clips: list[LipSyncClip], device: torch.device) -> tuple[Tensor, ...]:
    """Collate clips of equal length into the network's inputs: mouths, seen, sound, clip index of each track."""
    arrays = (
        np.concatenate([clip.mouths for clip in clips]),
        np.concatenate([clip.seen for clip in clips]),
        np.stack([clip.sound for clip in clips]),
        np.repeat(np.arange(len(clips)), [len(clip.mouths) for clip in clips]),
    )
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


def device_of(network: nn.Module) -> torch.device:
    """Device of the network's parameters."""
    return next(network.parameters()).device


def choose_speaker(tracks: list[Track], sound: AudioInput | None, scorer: SpeakerScorer | None) -> int | None:
    """Index of the speaking track, by the network or else the largest one; None without tracks."""
    if len(tracks) < 2 or sound is None or scorer is None:
        return largest_track(tracks)
    clip = clip_inputs.align_clip(tracks, sound.samples, sound.start)
    return int(np.argmax(scorer(clip))) if len(clip) >= MIN_PICTURES else largest_track(tracks)


def load_scorer(folder: Path) -> SpeakerScorer | None:
    """Load the network from a folder of the lip-sync stage; None if the stage is off."""
    if not (folder / "model.safetensors").is_file():
        return None
    network = lipsync.load(folder)
    return lambda clip: synchrony_evidence(network, clip)[:, 0]


def embedding_width(modality: str, name: str, folder: Path) -> int:
    """Width of a tower's embedding; raises a UserError if the lip-sync stage is off or has not run."""
    if (folder / "off.json").is_file():
        reason = read_json(folder / "off.json")["off"]
        raise UserError(
            f"params.yaml: encode.{modality}.encoder = {name!r}: lip-sync is off ({reason}); "
            f"set lipsync.epochs, or choose another encoder"
        )
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder}: not there; run `dvc repro lipsync`")
    return read_json(folder / "config.json")["dim"]

"""Evaluation of the lip-sync network on clips."""

import numpy as np
import torch
from torch import Tensor, nn

from merc.encoders.lipsync.clip_inputs import LipSyncClip


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

"""Self-supervised training of the lip-sync network: synchronised sound against shifted sound, without labels."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from merc.encoders.lipsync import synchrony
from merc.encoders.lipsync.candidates import MAX_SYNCHRONOUS_SHIFT
from merc.encoders.lipsync.clip_inputs import FRAMES_PER_PICTURE, LipSyncClip
from merc.training.core.loop import SCORE

SEGMENT_FRAMES = 29  # video frames of a clip per training step: 25 embeddings, 1 second


class SegmentBatches:
    """Random batches of clips, a random segment of each, all of a batch of the same length."""

    def __init__(self, clips: Sequence[LipSyncClip], size: int, seed: int) -> None:
        self.clips = [clip for clip in clips if len(clip) >= SEGMENT_FRAMES] or list(clips)
        self.size, self.random = size, np.random.default_rng(seed)

    def draw(self) -> list[np.ndarray]:
        """The clips of each batch of the next epoch."""
        order = self.random.permutation(len(self.clips))
        return np.split(order, range(self.size, len(order), self.size))

    def build(self, drawn: np.ndarray, progress: float) -> list[LipSyncClip]:
        """The segments of the drawn clips."""
        length = min([SEGMENT_FRAMES, *(len(self.clips[index]) for index in drawn)])
        return [self._segment(self.clips[index], length) for index in drawn]

    def describe(self, draws: Sequence[np.ndarray]) -> dict[str, float]:
        """Nothing."""
        return {}

    def _segment(self, clip: LipSyncClip, length: int) -> LipSyncClip:
        first = int(self.random.integers(len(clip) - length + 1))
        pictures = slice(first, first + length)
        sound = slice(first * FRAMES_PER_PICTURE, (first + length) * FRAMES_PER_PICTURE)
        return LipSyncClip(clip.mouths[:, pictures], clip.seen[:, pictures], clip.sound[sound])


def synchronisation_objective(network: nn.Module, clips: Sequence[LipSyncClip]) -> dict[str, Tensor]:
    """The loss of a batch of clips; it needs no labels."""
    batch = synchrony.collate_clips(list(clips), synchrony.device_of(network))
    return {"synchronisation": synchronisation_loss(network(*batch), batch[-1])}


class SynchronisationScore:
    """Minus the mean loss over entire clips."""

    def __init__(self, clips: Sequence[LipSyncClip]) -> None:
        self.clips = clips

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        network.eval()
        losses = [synchronisation_objective(network, [clip])["synchronisation"].item() for clip in self.clips]
        return {"dev_loss": float(np.mean(losses)), SCORE: -float(np.mean(losses))}


def synchronisation_loss(evidence: Tensor, owner: Tensor) -> Tensor:
    """-log P(one of the clip's tracks is synchronised with its sound), mean over clips.

    P is a softmax over all tracks of a clip at all shifts of its sound. The negatives are shifted sound and, since
    the softmax is shared, the other tracks. Which track speaks is unknown and summed out: multiple-instance
    learning as in MIL-NCE (Miech et al. 2020). Shifts within the tolerance are left out. evidence (K, W) has
    shift 0 in its first column; owner (K,) is the clip index of each track, ascending.
    """
    num_shifts = evidence.shape[1]
    slot = torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)
    shape = (int(owner[-1]) + 1, int(slot.max()) + 1, num_shifts)
    logits = evidence.new_full(shape, -torch.inf).index_put((owner, slot), evidence)
    is_counted = torch.ones(num_shifts, dtype=torch.bool, device=owner.device)
    is_counted[1 : MAX_SYNCHRONOUS_SHIFT + 1] = is_counted[num_shifts - MAX_SYNCHRONOUS_SHIFT :] = False
    return (logits[:, :, is_counted].flatten(1).logsumexp(1) - logits[:, :, 0].logsumexp(1)).mean()

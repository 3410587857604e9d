"""Self-supervised training of the lip-sync network: synchronised sound against shifted sound, without labels."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from merc.encoders.lipsync import synchrony
from merc.encoders.lipsync.candidates import MAX_SYNCHRONOUS_SHIFT, LipSyncConfig
from merc.encoders.lipsync.clip_inputs import FRAMES_PER_PICTURE, LipSyncClip
from merc.runtime.divergence import check_losses, check_weights
from merc.training.core.optim import AdamW, ParameterGroup, learning_rate_factor

SEGMENT_FRAMES = 29  # video frames of a clip per training step: 25 embeddings, 1 second
WARMUP = 0.1  # fraction of the training over which the learning rate rises
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0  # norm to which gradients are clipped


def fit(network: nn.Module, train: list[LipSyncClip], dev: list[LipSyncClip], config: LipSyncConfig) -> list[float]:
    """Minimise the loss over random segments of the training clips; returns the dev loss of every epoch.

    The network ends with the weights of the epoch with the lowest dev loss (without dev clips: training loss).
    Neither loss uses labels.
    """
    training = LipSyncTrainer(network, [clip for clip in train if len(clip) >= SEGMENT_FRAMES] or train, config)
    history, best_weights = [], {}
    for epoch in range(config.epochs):
        train_loss = training.epoch()
        history.append(mean_loss(network, dev) if dev else train_loss)
        check_losses({"training": train_loss, "dev" if dev else "training": history[-1]}, epoch + 1)
        if history[-1] == min(history):
            best_weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best_weights)
    check_weights(network)
    network.eval()
    return history


class LipSyncTrainer:
    """The training clips, the optimiser and the random state."""

    def __init__(self, network: nn.Module, clips: list[LipSyncClip], config: LipSyncConfig) -> None:
        self.network, self.clips, self.config = network, clips, config
        self.random = np.random.default_rng(config.seed)
        self.optimiser = AdamW([ParameterGroup.of(network.parameters(), config.lr)], WEIGHT_DECAY)
        self.steps = config.epochs * math.ceil(len(clips) / config.batch)

    def epoch(self) -> float:
        """Train for one epoch; returns its mean loss."""
        self.network.train()
        order = self.random.permutation(len(self.clips))
        batches = np.split(order, range(self.config.batch, len(order), self.config.batch))
        return float(np.mean([self._step([self.clips[index] for index in batch]) for batch in batches]))

    def _step(self, clips: list[LipSyncClip]) -> float:
        batch = synchrony.collate_clips(list(self._segments(clips)), synchrony.device_of(self.network))
        value = synchronisation_loss(self.network(*batch), batch[-1])
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimiser.step(learning_rate_factor("cosine", WARMUP, self.optimiser.steps / self.steps))
        return value.item()

    def _segments(self, clips: list[LipSyncClip]) -> Iterator[LipSyncClip]:
        """A random segment of each clip, all of the same length."""
        length = min([SEGMENT_FRAMES, *map(len, clips)])
        for clip in clips:
            first = int(self.random.integers(len(clip) - length + 1))
            pictures = slice(first, first + length)
            sound = slice(first * FRAMES_PER_PICTURE, (first + length) * FRAMES_PER_PICTURE)
            yield LipSyncClip(clip.mouths[:, pictures], clip.seen[:, pictures], clip.sound[sound])


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


@torch.inference_mode()
def mean_loss(network: nn.Module, clips: list[LipSyncClip]) -> float:
    """The mean loss over entire clips."""
    network.eval()
    batches = (synchrony.collate_clips([clip], synchrony.device_of(network)) for clip in clips)
    return float(np.mean([synchronisation_loss(network(*batch), batch[-1]).item() for batch in batches]))

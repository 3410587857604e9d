"""How lip-sync is learnt without labels, and what its network answers for a clip."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from merc.divergence import check_losses, check_weights
from merc.lipsync import TOLERANCE, LipSync
from merc.mouths import FRAMES_PER_PICTURE, Clip
from merc.optimiser import AdamW, Group, rate_share

SEGMENT = 29  # pictures of a training clip that one step sees: 25 embeddings, 1 second
WARMUP = 0.1  # share of the training in which the learning rate rises
WEIGHT_DECAY = 0.01
LARGEST_GRADIENT = 1.0  # norm


def fit(network: nn.Module, train: list[Clip], dev: list[Clip], config: LipSync) -> list[float]:
    """Minimise `loss` over random seconds of the training clips; returns every epoch's loss on dev.

    The network ends with the weights of the epoch whose dev loss is lowest (without dev clips: the training
    loss); it is as free of labels as the training.
    """
    training = Training(network, [clip for clip in train if len(clip) >= SEGMENT] or train, config)
    history, best = [], {}
    for epoch in range(config.epochs):
        learnt = training.epoch()
        history.append(mean_loss(network, dev) if dev else learnt)
        check_losses({"training": learnt, "dev" if dev else "training": history[-1]}, epoch + 1)
        if history[-1] == min(history):
            best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best)
    check_weights(network)
    network.eval()
    return history


class Training:
    """The training clips, and what changes from step to step."""

    def __init__(self, network: nn.Module, clips: list[Clip], config: LipSync) -> None:
        self.network, self.clips, self.config = network, clips, config
        self.random = np.random.default_rng(config.seed)
        self.optimiser = AdamW([Group.of(network.parameters(), config.lr)], WEIGHT_DECAY)
        self.steps = config.epochs * math.ceil(len(clips) / config.batch)

    def epoch(self) -> float:
        """One epoch; its mean loss."""
        self.network.train()
        order = self.random.permutation(len(self.clips))
        batches = np.split(order, range(self.config.batch, len(order), self.config.batch))
        return float(np.mean([self._step([self.clips[index] for index in batch]) for batch in batches]))

    def _step(self, clips: list[Clip]) -> float:
        batch = _tensors(list(self._segments(clips)), _device(self.network))
        value = loss(self.network(*batch), batch[-1])
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimiser.step(rate_share("cosine", WARMUP, self.optimiser.steps / self.steps))
        return value.item()

    def _segments(self, clips: list[Clip]) -> Iterator[Clip]:
        """A random stretch of each clip, all equally long."""
        length = min([SEGMENT, *map(len, clips)])
        for clip in clips:
            first = int(self.random.integers(len(clip) - length + 1))
            heard = slice(first * FRAMES_PER_PICTURE, (first + length) * FRAMES_PER_PICTURE)
            span = slice(first, first + length)
            yield Clip(clip.mouths[:, span], clip.seen[:, span], clip.sound[heard])


def loss(evidence: Tensor, owner: Tensor) -> Tensor:
    """-log P(one of the clip's tracks is in step), the mean over clips.

    The cells of a clip are its tracks at all shifts of its sound; P is a softmax over them. Its negatives are
    shifted sound and, as what one track wins all others lose, the other tracks. Which track speaks is not told
    but summed out: multiple-instance learning as in MIL-NCE (Miech et al. 2020). Shifts within the tolerance are
    no cells. evidence (K, W) has shift 0 in its first column; owner (K,) is the clip of each track, ascending.
    """
    shifts = evidence.shape[1]
    slot = torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)
    shape = (int(owner[-1]) + 1, int(slot.max()) + 1, shifts)
    cells = evidence.new_full(shape, -torch.inf).index_put((owner, slot), evidence)
    far = torch.ones(shifts, dtype=torch.bool, device=owner.device)
    far[1 : TOLERANCE + 1] = far[shifts - TOLERANCE :] = False
    return (cells[:, :, far].flatten(1).logsumexp(1) - cells[:, :, 0].logsumexp(1)).mean()


@torch.inference_mode()
def mean_loss(network: nn.Module, clips: list[Clip]) -> float:
    """The loss over whole clips."""
    network.eval()
    batches = (_tensors([clip], _device(network)) for clip in clips)
    return float(np.mean([loss(network(*batch), batch[-1]).item() for batch in batches]))


@torch.inference_mode()
def evidence(network: nn.Module, clip: Clip) -> np.ndarray:
    """(K, W) evidence of each track of a whole clip for each circular shift of the sound; column 0: in step."""
    return network(*_tensors([clip], _device(network))).cpu().numpy()


def _tensors(clips: list[Clip], device: torch.device) -> tuple[Tensor, ...]:
    """What the network takes of clips that are equally long: mouths, seen, sound, owner."""
    arrays = (
        np.concatenate([clip.mouths for clip in clips]),
        np.concatenate([clip.seen for clip in clips]),
        np.stack([clip.sound for clip in clips]),
        np.repeat(np.arange(len(clips)), [len(clip.mouths) for clip in clips]),
    )
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device

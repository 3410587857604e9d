"""The directions of a stream's features that tell speakers apart, found without a label.

The network takes them out, so that what is left of a feature is less who speaks and more how: nuisance attribute
projection (Solomonoff et al., ICASSP 2005), by speakers in place of telephone lines. Nothing has to be
known of a new speaker.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from merc.data.batches.dataset import Split
from merc.training.core.loop import batches
from merc.training.core.network import MultimodalNetwork
from merc.training.pretrain.objectives import summarise

MAX_UTTERANCES = 20_000  # a larger split is represented by every n-th dialogue
MIN_UTTERANCES = 10  # of a speaker: the mean of fewer says more about what they said


@torch.inference_mode()
def find_speaker_directions(network: MultimodalNetwork, train: Split, share: float) -> dict[str, Tensor]:
    """{stream: (D, K)} orthonormal directions in which speakers explain more than `share` of the variance.

    Of an utterance its mean over steps counts, standardised as the network does it. K may be 0.
    """
    part = train.subset(MAX_UTTERANCES)
    summaries = [summarise(network, batch) for batch in batches(network, part)]
    names = part.manifest["corpus"].str.cat(part.manifest["speaker"].replace("", None).astype("string"), sep="/")
    speaker = pd.factorize(names)[0]  # -1: unnamed
    found = {}
    for stream, dim in network.streams.items():
        present = torch.cat([one[stream].present for one in summaries]).cpu().numpy() & (speaker >= 0)
        means = torch.cat([one[stream].values[:, :dim] for one in summaries]).double().cpu().numpy()
        directions = directions_between(means[present], speaker[present], share)
        found[stream] = torch.from_numpy(directions).float()
    return found


def directions_between(means: np.ndarray, speaker: np.ndarray, share: float) -> np.ndarray:
    """(D, K) principal directions of the speakers' means, those in which they explain more than `share`.

    `means` (N, D) are of utterances, `speaker` (N,) numbers who said them.
    """
    numbers, counts = np.unique(speaker, return_counts=True)
    frequent = counts >= MIN_UTTERANCES
    if frequent.sum() < 2:
        return np.zeros((means.shape[1], 0))
    of_speakers = np.stack([means[speaker == number].mean(0) for number in numbers[frequent]])
    weights = counts[frequent] / counts[frequent].sum()
    between = (of_speakers - weights @ of_speakers) * np.sqrt(weights)[:, None]
    _, singular, directions = np.linalg.svd(between, full_matrices=False)
    variance = (directions @ (means - means.mean(0)).T).var(1)
    # the last direction of S centred means has no variance
    explains = (singular**2 > share * variance) & (singular > 1e-6 * singular[0])
    chosen = directions[explains]
    largest = np.abs(chosen).argmax(1, keepdims=True)
    return (chosen * np.sign(np.take_along_axis(chosen, largest, 1))).T  # the same sign on every processor

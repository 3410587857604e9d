"""How much more often a student answers a class when modalities are missing; offsets of its logits take it back."""

import torch
from torch import Tensor

from merc.data.batches.dataset import Split
from merc.training.core.loop import predict_views
from merc.training.core.network import MultimodalNetwork

MISSING_RATE, REPEATS = 0.5, 2  # at 0.5 every subset is as frequent as any other
MIN_ROWS = 20  # a subset of fewer rows is left as it is


def fit_subset_offsets(
    network: MultimodalNetwork, train: Split, strength: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """{classification: (2^M, C)} strength x log(mean probability of a class in a subset / with everything there).

    No label is used. Modalities of utterances are hidden by chance, so that the dialogue around an utterance is as
    incomplete as the utterance.
    """
    shape = (REPEATS, *train.present.shape)
    views = torch.rand(shape, generator=generator) >= MISSING_RATE
    views = torch.cat([views, torch.ones(1, *shape[1:], dtype=torch.bool)]).to(train.present.device)
    visible = (train.present & views).flatten(0, 1).cpu()
    subset = (visible.long() * 2 ** torch.arange(shape[2])).sum(1)
    everything = 2 ** shape[2] - 1
    tables = {}
    for task, logits in predict_views(network, train, views).items():
        if network.kinds[task].kind == "classification":
            probabilities = torch.from_numpy(logits).flatten(0, 1).softmax(1)
            table = torch.zeros(everything + 1, probabilities.shape[1])
            for number in subset.unique().tolist():
                rows, full = subset == number, subset == everything
                if min(rows.sum(), full.sum()) >= MIN_ROWS and number != everything:
                    table[number] = _log_mean(probabilities[rows]) - _log_mean(probabilities[full])
            tables[task] = (strength * table).to(train.present.device)
    return tables


def _log_mean(probabilities: Tensor) -> Tensor:
    """(C,) the logarithm of each class's mean probability; a class that is never answered counts as very rare."""
    return probabilities.mean(0).clamp(min=1e-6).log()

"""Cosine similarities of vectors, which the losses of pretraining and distillation compare."""

from torch import Tensor
from torch.nn import functional


def cosine_similarities(vectors: Tensor, others: Tensor | None = None) -> Tensor:
    """(N, K) cosine similarities of (N, D) and (K, D) vectors; without `others`, of every pair (N, N)."""
    unit = functional.normalize(vectors, dim=1)
    # normalised once where both are the same: twice would round the gradient otherwise
    return unit @ (unit if others is None else functional.normalize(others, dim=1)).T

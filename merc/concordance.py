"""Do two explanations of the same utterance put its parts in the same order?"""

import numpy as np
import pandas as pd


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) Spearman's rho, signed, of the rows of two (N, P) scores, over the parts that both score.

    A row of equal scores has no order, so that nothing agrees with it: 0. NaN where fewer than two are scored.
    """
    there = np.isfinite(one) & np.isfinite(other)
    ranks = [_centred(np.where(there, scores, np.nan)) for scores in (one, other)]
    spread = np.sqrt(np.prod([(rank**2).sum(1) for rank in ranks], axis=0))
    rho = (ranks[0] * ranks[1]).sum(1) / np.where(spread > 0, spread, 1.0)
    return np.where(there.sum(1) > 1, rho, np.nan)


def same_top(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) 1 where both (N, P) scores are largest at the same part, else 0; NaN where nothing is scored."""
    there = np.isfinite(one).any(1) & np.isfinite(other).any(1)
    tops = [np.where(np.isfinite(scores), scores, -np.inf).argmax(1) for scores in (one, other)]
    return np.where(there, tops[0] == tops[1], np.nan)


def _centred(scores: np.ndarray) -> np.ndarray:
    """Average ranks minus their mean; 0 for what is not scored."""
    ranks = pd.DataFrame(scores).rank(axis=1).to_numpy()
    return np.nan_to_num(ranks - np.nanmean(np.where(np.isfinite(ranks).any(1)[:, None], ranks, 0), 1)[:, None])

"""Agreement of two attributions of the same utterance: rank correlation and the same top part.

scipy.stats.spearmanr takes one row at a time, and is NaN for equal scores: for 1,000 rows of 12 parts 0.35
processor seconds instead of 0.0025.
"""

import numpy as np
import pandas as pd


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) Spearman's rho, signed, of the rows of two (N, P) scores, over the parts that both score.

    A row of equal scores has no order, so that its correlation is 0. NaN where fewer than two parts are scored.
    """
    is_scored = np.isfinite(first) & np.isfinite(second)
    ranks = [_centred_ranks(np.where(is_scored, scores, np.nan)) for scores in (first, second)]
    spread = np.sqrt(np.prod([(rank**2).sum(1) for rank in ranks], axis=0))
    rho = (ranks[0] * ranks[1]).sum(1) / np.where(spread > 0, spread, 1.0)
    return np.where(is_scored.sum(1) > 1, rho, np.nan)


def same_top(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) 1 where both (N, P) scores are largest at the same part, else 0; NaN where a row has no scores."""
    is_scored = np.isfinite(first).any(1) & np.isfinite(second).any(1)
    tops = [np.where(np.isfinite(scores), scores, -np.inf).argmax(1) for scores in (first, second)]
    return np.where(is_scored, tops[0] == tops[1], np.nan)


def _centred_ranks(scores: np.ndarray) -> np.ndarray:
    """Average ranks minus their mean; 0 for NaN."""
    ranks = pd.DataFrame(scores).rank(axis=1)
    return ranks.sub(ranks.mean(axis=1), axis=0).fillna(0.0).to_numpy()

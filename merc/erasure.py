"""What taking the named parts away does to the answer, and what showing them alone does; beside a random order.

ERASER (DeYoung et al. 2020): comprehensiveness is what the probability loses without the parts that a method names
(more is better), sufficiency what it loses when they alone are left (less is better).
"""

import numpy as np
import pandas as pd

from merc import shapley
from merc.faithfulness import SHARES, area, lower_bound

MEASURES = ("deletion", "insertion", "comprehensiveness", "sufficiency")
NAMED = tuple(place for place, share in enumerate(SHARES) if 0 < share <= 0.5)  # their mean, as in ERASER


def of_parts(falls: np.ndarray, grows: np.ndarray) -> pd.DataFrame:
    """MEASURES of each utterance from its curves (N, SHARES) while parts are blanked, and while they are shown."""
    named = list(NAMED)
    return pd.DataFrame(
        {
            "deletion": area(falls),
            "insertion": area(grows),
            "comprehensiveness": falls[:, 0] - falls[:, named].mean(1),
            "sufficiency": grows[:, -1] - grows[:, named].mean(1),
        }
    )


def of_modalities(worth: np.ndarray, scores: np.ndarray, present: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """MEASURES of each utterance in the order of the scores (N, M), and in any order, exactly.

    `worth` (N, 2^M): the probability under every coalition. One modality is named.
    """
    falls, every = shapley.paths(worth, scores, present)
    grows = [one[::-1] for one in shapley.paths(worth, -scores, present)[0]]
    return _of_paths(falls, grows), _of_paths(every, [one[::-1] for one in every])


def board(
    measured: dict[str, tuple[pd.DataFrame, pd.DataFrame]], groups: np.ndarray, seed: int
) -> dict[str, float]:
    """By method, its measures and those of a random order.

    `_deletion` is the random order's area minus the method's, `_insertion` the method's minus the random order's:
    positive is better in both; `_low` their paired lower bounds.
    """
    found = {}
    for method, (own, random) in measured.items():
        gains = {
            "deletion": random["deletion"] - own["deletion"],
            "insertion": own["insertion"] - random["insertion"],
        }
        for name, gain in gains.items():
            found[f"{method}_{name}"] = gain.mean()
            found[f"{method}_{name}_low"] = lower_bound(gain.to_numpy(), groups, seed)
        found |= {f"{method}_{name}": own[name].mean() for name in MEASURES[2:]}
    return found


def nothing(like: pd.DataFrame) -> pd.DataFrame:
    """The measures of a method that says nothing."""
    return like * np.nan


def _of_paths(falls: list[np.ndarray], grows: list[np.ndarray]) -> pd.DataFrame:
    rows = [
        [
            shapley.area(fall),
            shapley.area(grow),
            fall[0] - fall[min(1, len(fall) - 1)],
            grow[-1] - grow[min(1, len(grow) - 1)],
        ]
        for fall, grow in zip(falls, grows, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(MEASURES))

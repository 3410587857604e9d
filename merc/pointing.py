"""Do explanations point where the generator put the emotion? Only corpora with truth can tell."""

import numpy as np
import pandas as pd


def modality_hits(scores: np.ndarray, modalities: tuple[str, ...], informative: list[list[str]]) -> pd.DataFrame:
    """One row per utterance with exactly one informative modality: hit, chance, and that modality.

    scores (N, M), NaN for an absent modality; chance: one of the modalities that are present, at random.
    """
    rows = [row for row, names in enumerate(informative) if len(names) == 1 and names[0] in modalities]
    found = [
        {
            "row": row,
            "hit": modalities[int(np.nanargmax(scores[row]))] == informative[row][0],
            "chance": 1 / np.isfinite(scores[row]).sum(),
            "informative": informative[row][0],
        }
        for row in rows
        if np.isfinite(scores[row]).any()
    ]
    return pd.DataFrame(found, columns=["row", "hit", "chance", "informative"])


def word_hits(parts: pd.DataFrame, scores: str, carriers: dict[int, list[dict[str, int]]]) -> pd.DataFrame:
    """One row per utterance in `carriers` (row -> spans) that has words: is its top word a carrier?

    chance: one of its words at random. Words that the method does not score are left out.
    """
    words = (parts["modality"] == "text") & (parts["word"] != "") & parts[scores].notna()
    spoken = parts[words & parts["row"].isin(list(carriers))]
    found = []
    for row, own in spoken.groupby("row"):
        spans = zip(own["start"], own["end"], strict=True)
        carrier = np.array([_touches(start, end, carriers[row]) for start, end in spans])
        found.append({"row": row, "hit": carrier[int(own[scores].argmax())], "chance": carrier.mean()})
    return pd.DataFrame(found, columns=["row", "hit", "chance"])


def constant(hits: pd.DataFrame) -> float:
    """How often the one answer that is right most often would be right; NaN without cases."""
    return float(hits["informative"].value_counts(normalize=True).max()) if len(hits) else np.nan


def _touches(start: float, end: float, spans: list[dict[str, int]]) -> bool:
    return any(start < span["end"] and span["start"] < end for span in spans)

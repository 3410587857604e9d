"""Label spaces: what the heads distinguish, and how each corpus's own labels map into it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from merc.problem import Problem

UNLABELLED = -100  # torch's cross-entropy ignores this target
MELD_EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
MELD_SENTIMENTS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class LabelSpace:
    """The order of the labels is the order of the heads' outputs; a map per corpus: own label -> label here."""

    emotion: tuple[str, ...]
    sentiment: tuple[str, ...]
    emotion_maps: dict[str, dict[str, str]]
    sentiment_maps: dict[str, dict[str, str]]

    def indices(self, manifest: pd.DataFrame, task: str) -> np.ndarray:
        """(N,) int64 targets; a label that is null or has no map is UNLABELLED."""
        order = {label: index for index, label in enumerate(getattr(self, task))}
        maps = getattr(self, f"{task}_maps")
        own = zip(manifest["corpus"], manifest[task], strict=True)
        mapped = (maps.get(corpus, {}).get(label) if isinstance(label, str) else None for corpus, label in own)
        return np.array([order.get(label, UNLABELLED) for label in mapped], dtype=np.int64)


def _itself(labels: tuple[str, ...]) -> dict[str, str]:
    return {label: label for label in labels}


SPACES = {
    "meld": LabelSpace(
        emotion=MELD_EMOTIONS,
        sentiment=MELD_SENTIMENTS,
        emotion_maps={"sample": _itself(MELD_EMOTIONS), "meld": _itself(MELD_EMOTIONS)},
        sentiment_maps={"sample": _itself(MELD_SENTIMENTS), "meld": _itself(MELD_SENTIMENTS)},
    ),
}
TASKS = ("emotion", "sentiment")


def space(name: str) -> LabelSpace:
    if name not in SPACES:
        raise Problem(f"params.yaml: data.labels = {name!r}: choose one of {', '.join(SPACES)}")
    return SPACES[name]

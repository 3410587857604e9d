"""Label spaces: the classes that the heads predict, and the mapping of each corpus's labels to them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from merc.runtime.errors import UserError

UNLABELLED = -100  # torch's cross-entropy ignores this target
MELD_EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
IEMOCAP_EMOTIONS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
RAVDESS_EMOTIONS = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgusted",
    "surprised",
)  # as it numbers them
MELD_SENTIMENTS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class LabelSpace:
    """Classes in the order of the heads' outputs, and for each corpus a map from its labels to these classes."""

    emotion: tuple[str, ...]
    sentiment: tuple[str, ...]
    emotion_maps: dict[str, dict[str, str]]
    sentiment_maps: dict[str, dict[str, str]]

    def indices(self, manifest: pd.DataFrame, task: str) -> np.ndarray:
        """(N,) int64 targets; UNLABELLED for a label that is null or not in the corpus's map."""
        order = {label: index for index, label in enumerate(getattr(self, task))}
        maps = getattr(self, f"{task}_maps")
        pairs = zip(manifest["corpus"], manifest[task], strict=True)
        mapped = (maps.get(corpus, {}).get(label) if isinstance(label, str) else None for corpus, label in pairs)
        return np.array([order.get(label, UNLABELLED) for label in mapped], dtype=np.int64)


def _identity(labels: tuple[str, ...]) -> dict[str, str]:
    """Map each label to itself."""
    return {label: label for label in labels}


# Emotion labels of all corpora -> MELD's. A label means the same in every corpus; IEMOCAP's "frustrated" and
# "other" have no counterpart. RAVDESS's calm counts as neutral: its authors added it as a second baseline.
AS_MELD = _identity(MELD_EMOTIONS) | {
    "calm": "neutral",
    "happy": "joy",
    "excited": "joy",
    "surprised": "surprise",
    "angry": "anger",
    "sad": "sadness",
    "disgusted": "disgust",
    "fearful": "fear",
}
AS_IEMOCAP_6 = _identity(IEMOCAP_EMOTIONS) | {"calm": "neutral", "joy": "happy", "anger": "angry", "sadness": "sad"}
AS_IEMOCAP_4 = {name: label for name, label in AS_IEMOCAP_6.items() if label != "frustrated"} | {"excited": "happy"}
AS_RAVDESS = _identity(RAVDESS_EMOTIONS) | {
    "joy": "happy",
    "excited": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "disgust": "disgusted",
    "surprise": "surprised",
}
# Labels allowed in the table of a user's own corpus (merc/corpora/folder.py).
FOLDER_EMOTIONS = tuple(sorted(AS_MELD | AS_IEMOCAP_6 | AS_RAVDESS))
CORPUS_NAMES = ("sample", "meld", "iemocap", "ravdess", "folder")


def _space(emotion: tuple[str, ...], emotion_map: dict[str, str]) -> LabelSpace:
    """Label space with one emotion map for all corpora, and MELD's sentiments for those that have sentiments."""
    sentiments = _identity(MELD_SENTIMENTS)
    return LabelSpace(
        emotion, MELD_SENTIMENTS, dict.fromkeys(CORPUS_NAMES, emotion_map), dict.fromkeys(CORPUS_NAMES, sentiments)
    )


LABEL_SPACES = {
    "meld": _space(MELD_EMOTIONS, AS_MELD),
    "iemocap6": _space(IEMOCAP_EMOTIONS, AS_IEMOCAP_6),
    "iemocap4": _space(("happy", "sad", "neutral", "angry"), AS_IEMOCAP_4),
    "ravdess": _space(RAVDESS_EMOTIONS, AS_RAVDESS),
}
TASKS = ("emotion", "sentiment")


def label_space(name: str) -> LabelSpace:
    """Label space named by data.labels in params.yaml."""
    if name not in LABEL_SPACES:
        raise UserError(f"params.yaml: data.labels = {name!r}: choose one of {', '.join(LABEL_SPACES)}")
    return LABEL_SPACES[name]

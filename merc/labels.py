"""Label spaces: what the heads distinguish, and how each corpus's own labels map into it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from merc.problem import Problem

UNLABELLED = -100  # torch's cross-entropy ignores this target
MELD_EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
IEMOCAP_EMOTIONS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
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


# What corpora call an emotion, in MELD's words. A word means the same in every corpus; IEMOCAP's "frustrated" and
# "other" have no counterpart. RAVDESS's calm counts as neutral: its authors added it as a second baseline.
AS_MELD = _itself(MELD_EMOTIONS) | {
    "calm": "neutral",
    "happy": "joy",
    "excited": "joy",
    "surprised": "surprise",
    "angry": "anger",
    "sad": "sadness",
    "disgusted": "disgust",
    "fearful": "fear",
}
AS_IEMOCAP_6 = _itself(IEMOCAP_EMOTIONS) | {"calm": "neutral", "joy": "happy", "anger": "angry", "sadness": "sad"}
AS_IEMOCAP_4 = {word: label for word, label in AS_IEMOCAP_6.items() if label != "frustrated"} | {"excited": "happy"}
AS_RAVDESS = _itself(RAVDESS_EMOTIONS) | {
    "joy": "happy",
    "excited": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "disgust": "disgusted",
    "surprise": "surprised",
}
# What a table of one's own may say.
FOLDER_EMOTIONS = tuple(sorted(AS_MELD | AS_IEMOCAP_6 | AS_RAVDESS))
CORPORA = ("sample", "meld", "iemocap", "ravdess", "folder")


def _space(emotion: tuple[str, ...], words: dict[str, str]) -> LabelSpace:
    """A label space for every corpus; its sentiments are MELD's, which a corpus either has or has not."""
    sentiments = _itself(MELD_SENTIMENTS)
    return LabelSpace(emotion, MELD_SENTIMENTS, dict.fromkeys(CORPORA, words), dict.fromkeys(CORPORA, sentiments))


SPACES = {
    "meld": _space(MELD_EMOTIONS, AS_MELD),
    "iemocap6": _space(IEMOCAP_EMOTIONS, AS_IEMOCAP_6),
    "iemocap4": _space(("happy", "sad", "neutral", "angry"), AS_IEMOCAP_4),
    "ravdess": _space(RAVDESS_EMOTIONS, AS_RAVDESS),
}
TASKS = ("emotion", "sentiment")


def space(name: str) -> LabelSpace:
    if name not in SPACES:
        raise Problem(f"params.yaml: data.labels = {name!r}: choose one of {', '.join(SPACES)}")
    return SPACES[name]

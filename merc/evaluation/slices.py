"""Scores of slices of the test split: by speaker, emotion shift, turn, length, media and overlap with training."""

from collections.abc import Iterator
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from merc.data.records.labels import is_labelled
from merc.data.records.manifest import MODALITIES
from merc.data.records.selection import LOWER_IS_BETTER
from merc.evaluation.predictions import Predictions

FREQUENT_SPEAKER = 50  # training utterances of a frequent speaker, at least
SLICE_METRICS = {
    "classification": ("accuracy", "macro_f1"),
    "multilabel": ("accuracy", "macro_f1"),
    "regression": ("mae", "ccc"),
}
MIN_SLICE_SIZE = 20  # utterances of a slice that may be marked as the worst, at least


def slice_masks(test: pd.DataFrame, seen: pd.DataFrame) -> dict[str, np.ndarray]:
    """{name: (N,) bool} of the non-empty slices; `seen` are the rows of train and dev."""
    families = (_all, _speakers, _shifts, _turns, _lengths, _media, _clean)
    masks = {name: np.asarray(mask, dtype=bool) for family in families for name, mask in family(test, seen)}
    return {name: mask for name, mask in masks.items() if mask.any()}


NamedMasks = Iterator[tuple[str, ArrayLike]]


def _all(test: pd.DataFrame, _seen: pd.DataFrame) -> NamedMasks:
    yield "all", np.ones(len(test), dtype=bool)


def _speakers(test: pd.DataFrame, seen: pd.DataFrame) -> NamedMasks:
    """By the number of the speaker's training utterances."""
    names = cast("pd.Series", test["corpus"] + "/" + test["speaker"])
    seen_names = cast("pd.Series", (seen["corpus"] + "/" + seen["speaker"])[seen["split"] == "train"])
    counts = names.map(seen_names.value_counts()).fillna(0)
    yield f"speaker: frequent ({FREQUENT_SPEAKER} or more in train)", counts >= FREQUENT_SPEAKER
    yield f"speaker: rare (1 to {FREQUENT_SPEAKER - 1})", (counts > 0) & (counts < FREQUENT_SPEAKER)
    yield "speaker: unseen", counts == 0


def _shifts(test: pd.DataFrame, _seen: pd.DataFrame) -> NamedMasks:
    """By whether the emotion differs from that of the speaker's previous labelled utterance in the dialogue."""
    labelled = test["emotion"].where(test["emotion"].notna())
    speakers = [test["corpus"], test["dialogue"], test["speaker"]]
    previous = labelled.groupby(speakers).transform(lambda emotions: emotions.ffill().shift())
    has_both = previous.notna() & labelled.notna()
    yield "emotion: the speaker's shifts", has_both & (previous != labelled)
    yield "emotion: the speaker's stays", has_both & (previous == labelled)
    yield "emotion: the speaker's first", previous.isna() & labelled.notna()


def _turns(test: pd.DataFrame, _seen: pd.DataFrame) -> NamedMasks:
    yield "turn: first", test["turn"] == 0
    yield "turn: 2 to 4", test["turn"].between(1, 3)
    yield "turn: 5 or later", test["turn"] >= 4


def _lengths(test: pd.DataFrame, _seen: pd.DataFrame) -> NamedMasks:
    words = test["text"].fillna("").str.split().str.len()
    yield "length: up to 4 words", words <= 4
    yield "length: 5 to 12 words", words.between(5, 12)
    yield "length: 13 words or more", words > 12


def _media(test: pd.DataFrame, _seen: pd.DataFrame) -> NamedMasks:
    """By the status words of extract (truncated, no_face, missing ...)."""
    for modality in MODALITIES:
        statuses = test[f"{modality}_status"].str.split(",")
        for word in sorted({word for status in statuses for word in status}):
            yield f"{modality}: {word}", statuses.map(lambda status, word=word: word in status)


def _clean(test: pd.DataFrame, seen: pd.DataFrame) -> NamedMasks:
    """Clean: no near-duplicates of training or dev texts, no segments that overlap theirs in a recording."""
    is_shared = shared_with_training(test, seen)
    yield "clean test", ~is_shared
    yield "shared with train or dev", is_shared


def slice_table(
    predictions: Predictions, task: str, parts: dict[str, np.ndarray], models: list[str]
) -> pd.DataFrame:
    """A row per slice and model: labelled utterances, two scores (means over seeds), whether worst by the first."""
    measured = SLICE_METRICS[predictions.task(task).kind]
    rows = [_row(predictions, task, model, name, mask) for model in models for name, mask in parts.items()]
    scored = pd.DataFrame(rows, columns=["model", "slice", "utterances", *measured])
    large = scored[scored["utterances"] >= MIN_SLICE_SIZE].dropna()
    sign = -1 if measured[0] in LOWER_IS_BETTER else 1
    signed = large.assign(signed=sign * large[measured[0]])
    worst = large.loc[signed.groupby("model", sort=False)["signed"].idxmin()].index
    return scored.assign(worst=scored.index.isin(worst))


def _row(predictions: Predictions, task: str, model: str, name: str, mask: np.ndarray) -> tuple:
    if task not in predictions.outputs:
        return model, name, 0, np.nan, np.nan
    measure, actual = predictions.measure(task), predictions.actual(task)[mask]
    predicted = predictions.predicted(task, model)[:, 0][:, mask]
    scored = measure.summarise(measure.sums(actual, predicted, np.zeros(len(actual), np.int64), 1)[:, 0])
    values = (scored[name].mean() for name in SLICE_METRICS[measure.kind])
    return model, name, is_labelled(actual).sum(), *values


MIN_WORDS = 4  # shorter texts ("Oh my God!") recur naturally
MIN_JACCARD = 0.8  # Jaccard index of the two sets of words
BLOCK = 500  # texts per product: nearly all pairs share a word, and all pairs of MELD at once would take 0.6 GB


def shared_with_training(test: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(N,) bool: utterances that a model may have been trained or selected on, by text or recording."""
    texts, seen_texts = cast("pd.Series", test["text"]), cast("pd.Series", seen["text"])
    return near_duplicates(texts, seen_texts) | overlapping(test, seen)


def near_duplicates(texts: pd.Series, seen: pd.Series) -> np.ndarray:
    """(N,) bool: texts whose set of at least 4 words has a Jaccard index of at least 0.8 with a seen text's."""
    vectorizer = CountVectorizer(token_pattern=r"\w+", binary=True)
    try:
        vectorizer.fit([*texts.fillna(""), *seen.fillna("")])
    except ValueError:  # no text has a word
        return np.zeros(len(texts), dtype=bool)
    words, seen_words = (sparse.csr_array(vectorizer.transform(some.fillna(""))) for some in (texts, seen))
    blocks = [_is_similar(words[first : first + BLOCK], seen_words) for first in range(0, len(texts), BLOCK)]
    return np.concatenate([np.zeros(0, dtype=bool), *blocks])


def overlapping(test: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(N,) bool: utterances that overlap in time with a seen one of the same recording."""
    timed = seen[["corpus", "source", "start", "end"]].dropna()
    pairs = test.reset_index(names="row").merge(timed, on=["corpus", "source"], suffixes=("", "_seen"))
    overlap = (pairs["start"] < pairs["end_seen"]) & (pairs["start_seen"] < pairs["end"])
    return test.index.isin(pairs.loc[overlap, "row"])


def _is_similar(words: sparse.csr_array, seen: sparse.csr_array) -> np.ndarray:
    """(n,) bool: which binary bag-of-words rows are near-duplicates of a seen row."""
    common = (words @ seen.T).tocoo()
    sizes, seen_sizes = words.sum(axis=1), seen.sum(axis=1)
    union = sizes[common.row] + seen_sizes[common.col] - common.data
    is_duplicate = (common.data >= MIN_JACCARD * union) & (sizes[common.row] >= MIN_WORDS)
    return np.isin(np.arange(len(sizes)), common.row[is_duplicate])

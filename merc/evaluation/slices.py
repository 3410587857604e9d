"""Scores of slices of the test split: by speaker, emotion shift, turn, length, media and overlap with training."""

import itertools
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
    previous = labelled.groupby(speakers).ffill().groupby(speakers).shift()
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
            yield f"{modality}: {word}", [word in status for status in statuses]


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
BLOCK_PAIRS = 300_000  # of texts that are compared at once: 100 MB
TOLERANCE = 1e-9  # of sizes times 0.8


def shared_with_training(test: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(N,) bool: utterances that a model may have been trained or selected on, by text or recording."""
    texts, seen_texts = cast("pd.Series", test["text"]), cast("pd.Series", seen["text"])
    return near_duplicates(texts, seen_texts) | overlapping(test, seen)


def near_duplicates(texts: pd.Series, seen: pd.Series) -> np.ndarray:
    """(N,) bool: texts whose set of at least 4 words has a Jaccard index of at least 0.8 with a seen text's.

    Of two such sets, with their words in one order, the first n - ceil(0.8 n) + 1 words of n share one (the prefix
    filter of Chaudhuri, Ganti and Kaushik 2006, doi:10.1109/ICDE.2006.9). Rare words first, few pairs of texts
    share one, while nearly all pairs share some word. Each different text is compared once.
    """
    own, own_texts = pd.factorize(texts.fillna(""))
    vectorizer = CountVectorizer(token_pattern=r"\w+", binary=True)
    try:
        words = sparse.csr_array(vectorizer.fit_transform([*own_texts, *seen.fillna("").unique()]))
    except ValueError:  # no text has a word
        return np.zeros(len(texts), dtype=bool)
    words = words[:, np.argsort(words.sum(axis=0), kind="stable")]
    words.sort_indices()
    own_words, seen_words = words[: len(own_texts)], words[len(own_texts) :]
    seen_words = seen_words[np.diff(seen_words.indptr) >= MIN_JACCARD * MIN_WORDS]
    first_words = _first_words(seen_words)
    own_first = _first_words(own_words)
    pairs = own_first @ first_words.sum(axis=0)  # of each text, at most
    begins = np.flatnonzero(np.diff((np.cumsum(pairs) - pairs) // BLOCK_PAIRS, prepend=-1))
    blocks = [
        _is_similar(own_words[first:last], own_first[first:last], seen_words, first_words)
        for first, last in itertools.pairwise([*begins, len(own_texts)])
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *blocks])[own]


def _first_words(words: sparse.csr_array) -> sparse.csr_array:
    """Of each text the first words, of which a near-duplicate has one."""
    sizes = np.diff(words.indptr)
    kept = sizes - np.ceil(MIN_JACCARD * sizes - TOLERANCE).astype(int) + 1
    place = np.arange(len(words.indices)) - np.repeat(words.indptr[:-1], sizes)
    is_first = place < np.repeat(kept, sizes)
    indptr = np.concatenate([[0], np.cumsum(np.minimum(kept, sizes))])
    return sparse.csr_array((words.data[is_first], words.indices[is_first], indptr), shape=words.shape)


def overlapping(test: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(N,) bool: utterances that overlap in time with a seen one of the same recording.

    Of the seen ones that begin before an utterance ends, the latest end tells.
    """
    recording, columns = ["corpus", "source"], ["corpus", "source", "start", "end"]
    timed, own = (cast("pd.DataFrame", each[columns]).reset_index(drop=True).dropna() for each in (seen, test))
    timed = timed.sort_values(by="start")
    if timed.empty or own.empty:
        return np.zeros(len(test), dtype=bool)
    latest = timed.assign(latest=timed.groupby(recording)["end"].cummax())
    met = pd.merge_asof(
        own.assign(row=own.index).sort_values(by="end"),
        latest[[*recording, "start", "latest"]],
        left_on="end",
        right_on="start",
        by=recording,
        suffixes=("", "_seen"),
        allow_exact_matches=False,
    )
    return np.isin(np.arange(len(test)), met.loc[met["start"] < met["latest"], "row"])


def _is_similar(
    words: sparse.csr_array, first: sparse.csr_array, seen: sparse.csr_array, seen_first: sparse.csr_array
) -> np.ndarray:
    """(n,) bool: which binary rows are near-duplicates of a row of `seen`; `first`s: the first words of each."""
    pairs = (first @ seen_first.T).tocoo()
    sizes, seen_sizes = np.diff(words.indptr), np.diff(seen.indptr)
    low, high = sizes[pairs.row], seen_sizes[pairs.col]
    possible = (low >= MIN_WORDS) & (np.minimum(low, high) >= MIN_JACCARD * np.maximum(low, high) - TOLERANCE)
    row, column = pairs.row[possible], pairs.col[possible]
    common = words[row].multiply(seen[column]).sum(axis=1)
    is_duplicate = common >= MIN_JACCARD * (sizes[row] + seen_sizes[column] - common)
    return np.isin(np.arange(len(sizes)), row[is_duplicate])

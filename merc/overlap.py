"""What a test utterance shares with training: its text nearly word for word, or its stretch of a recording."""

import re

import numpy as np
import pandas as pd
from scipy import sparse

WORDS = 4  # a shorter text ("Oh my God!") recurs by nature
ALIKE = 0.8  # Jaccard index of the two sets of words
BLOCK = 500  # texts compared at once: nearly every pair shares a word, and all pairs of MELD would take 0.6 GB


def shared(test: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(N,) bool: utterances that a model may have met while it learnt or was chosen."""
    return near_duplicates(test["text"], seen["text"]) | overlapping(test, seen)


def near_duplicates(texts: pd.Series, seen: pd.Series) -> np.ndarray:
    """(N,) bool: texts of WORDS different words or more whose words are ALIKE those of a text seen."""
    ours, theirs = [_words(text) for text in texts], [_words(text) for text in seen]
    vocabulary = {word: number for number, word in enumerate(sorted(set().union(*ours, *theirs)))}
    if not vocabulary:
        return np.zeros(len(texts), dtype=bool)
    there = _matrix(theirs, vocabulary)
    parts = [
        _alike(_matrix(ours[first : first + BLOCK], vocabulary), there) for first in range(0, len(ours), BLOCK)
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def overlapping(test: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(N,) bool: utterances whose start and end lie over those of one seen, in the same recording."""
    there = seen[["corpus", "source", "start", "end"]].dropna()
    found = test.reset_index(names="row").merge(there, on=["corpus", "source"], suffixes=("", "_seen"))
    over = (found["start"] < found["end_seen"]) & (found["start_seen"] < found["end"])
    return test.index.isin(found.loc[over, "row"])


def _alike(ours: sparse.csr_array, theirs: sparse.csr_array) -> np.ndarray:
    """(n,) bool: rows of word counts that are ALIKE one of the others."""
    common = (ours @ theirs.T).tocoo()
    sizes = ours.sum(axis=1), theirs.sum(axis=1)
    union = sizes[0][common.row] + sizes[1][common.col] - common.data
    alike = (common.data >= ALIKE * union) & (sizes[0][common.row] >= WORDS)
    return np.isin(np.arange(ours.shape[0]), common.row[alike])


def _words(text: str | None) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower())) if isinstance(text, str) else frozenset()


def _matrix(texts: list[frozenset[str]], vocabulary: dict[str, int]) -> sparse.csr_array:
    columns = [vocabulary[word] for words in texts for word in sorted(words)]
    ends = np.cumsum([0, *(len(words) for words in texts)])
    return sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), len(vocabulary)))

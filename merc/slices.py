"""Scores of parts of the test split: for whom, and when, does it work?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from merc import overlap, scores
from merc.manifest import MODALITIES
from merc.predictions import Predictions

OFTEN = 50  # training utterances from which on a speaker counts as frequent
SMALLEST = 20  # utterances below which a slice is too small to be called the worst


def slices(test: pd.DataFrame, seen: pd.DataFrame) -> dict[str, np.ndarray]:
    """Name -> (N,) bool; `seen` holds the rows of train and dev. A slice that holds nobody is left out."""
    parts = (_all, _speakers, _shifts, _turns, _lengths, _media, _clean)
    found = {name: np.asarray(mask, dtype=bool) for part in parts for name, mask in part(test, seen)}
    return {name: mask for name, mask in found.items() if mask.any()}


Named = Iterator[tuple[str, pd.Series | np.ndarray]]


def _all(test: pd.DataFrame, _seen: pd.DataFrame) -> Named:
    yield "all", np.ones(len(test), dtype=bool)


def _speakers(test: pd.DataFrame, seen: pd.DataFrame) -> Named:
    """By how much of the speaker was in training."""
    names = test["corpus"] + "/" + test["speaker"]
    met = names.map((seen["corpus"] + "/" + seen["speaker"])[seen["split"] == "train"].value_counts()).fillna(0)
    yield f"speaker: frequent ({OFTEN} or more in train)", met >= OFTEN
    yield f"speaker: rare (1 to {OFTEN - 1})", (met > 0) & (met < OFTEN)
    yield "speaker: unseen", met == 0


def _shifts(test: pd.DataFrame, _seen: pd.DataFrame) -> Named:
    """Whether the speaker's emotion is another than at their last labelled utterance in the dialogue."""
    labelled = test["emotion"].where(test["emotion"].notna())
    speakers = [test["corpus"], test["dialogue"], test["speaker"]]
    last = labelled.groupby(speakers).transform(lambda own: own.ffill().shift())
    known = last.notna() & labelled.notna()
    yield "emotion: the speaker's shifts", known & (last != labelled)
    yield "emotion: the speaker's stays", known & (last == labelled)
    yield "emotion: the speaker's first", last.isna() & labelled.notna()


def _turns(test: pd.DataFrame, _seen: pd.DataFrame) -> Named:
    yield "turn: first", test["turn"] == 0
    yield "turn: 2 to 4", test["turn"].between(1, 3)
    yield "turn: 5 or later", test["turn"] >= 4


def _lengths(test: pd.DataFrame, _seen: pd.DataFrame) -> Named:
    words = test["text"].fillna("").str.split().str.len()
    yield "length: up to 4 words", words <= 4
    yield "length: 5 to 12 words", words.between(5, 12)
    yield "length: 13 words or more", words > 12


def _media(test: pd.DataFrame, _seen: pd.DataFrame) -> Named:
    """By what extract had to do to a medium (truncated, no_face, missing ...)."""
    for modality in MODALITIES:
        words = test[f"{modality}_status"].str.split(",")
        for word in sorted({each for one in words for each in one}):
            yield f"{modality}: {word}", words.map(lambda one, word=word: word in one)


def _clean(test: pd.DataFrame, seen: pd.DataFrame) -> Named:
    """Clean: without near-duplicates of training texts and without shared stretches of a recording."""
    shared = overlap.shared(test, seen)
    yield "clean test", ~shared
    yield "shared with train or dev", shared


def table(predictions: Predictions, task: str, parts: dict[str, np.ndarray], models: list[str]) -> pd.DataFrame:
    """A row a slice and model: labelled utterances, accuracy, macro F1 (means over seeds), whether the worst."""
    rows = [_row(predictions, task, model, name, mask) for model in models for name, mask in parts.items()]
    made = pd.DataFrame(rows, columns=["model", "slice", "utterances", "accuracy", "macro_f1"])
    large = made[made["utterances"] >= SMALLEST].dropna()
    worst = large.loc[large.groupby("model", sort=False)["accuracy"].idxmin()].index
    return made.assign(worst=made.index.isin(worst))


def _row(predictions: Predictions, task: str, model: str, name: str, mask: np.ndarray) -> tuple:
    actual = np.where(mask, predictions.actual(task), -1)
    if task not in predictions.answers:
        return model, name, 0, np.nan, np.nan
    predicted = predictions.predicted(task, model)[:, 0]
    matrix = scores.confusion(actual, predicted, len(predictions.orders[task]))
    measured = scores.summarise(matrix)
    return model, name, (actual >= 0).sum(), measured["accuracy"].mean(), measured["macro_f1"].mean()

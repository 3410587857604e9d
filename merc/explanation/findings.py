"""What the explanations of many utterances say together: metrics/explain.json and the tables behind its plots."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Protocol, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from merc.explanation.checks import agreement, deletion, ground_truth, randomisation
from merc.explanation.checks.ground_truth import GroundTruthHits, hit_metrics
from merc.explanation.explainer import PART_METHODS, RANDOM, UNREAD, ExplainConfig, Explained
from merc.explanation.methods import shapley
from merc.explanation.methods.integrated_gradients import gap_tolerance

Modalities = tuple[str, ...]
EMOTION_COLUMNS = ["emotion", "modality", "shapley_absolute", "shapley", "teacher_shapley", "gate", "utterances"]


class _Row(Protocol):
    """A row of `Explained.rows`; actual and predicted are label numbers, actual is -1 if missing."""

    Index: int
    actual: int
    predicted: int


def metrics(
    found: Explained,
    checked: pd.DataFrame,
    verdicts: list[GroundTruthHits],
    truth: pd.DataFrame,
    modalities: Modalities,
    config: ExplainConfig,
) -> dict:
    """Baselines stand beside what they are a baseline of; null where a corpus has no truth or a fusion no gates."""
    limit = gap_tolerance(torch.from_numpy(found.explained)).numpy()
    missed = found.shapley.sum(1) - (found.worth[:, -1] - found.worth[:, 0])
    return {
        "utterances": len(found.rows),
        "shapley_gap": np.abs(missed).max(),
        "integrated_gradients_converged": (np.abs(found.gap) <= limit).mean(),
        "shap_gap": found.shap_gap.max(),
        **hit_metrics(verdicts),
        **first_words(found, truth),
        **erasures(found, config),
        **sanities(checked),
        **agreements(found),
        "shapley": dict(zip(modalities, np.abs(found.shapley).mean(0), strict=True)),
    }


def first_words(found: Explained, truth: pd.DataFrame) -> dict[str, float]:
    """Word hits of every method for the first student alone."""
    told = found.rows.merge(truth, how="left", on=["corpus", "utterance"])
    right = cast("Mapping[int, bool]", told["predicted"] == told["actual"])  # by row
    carriers = {
        row: cast("list[dict[str, int]]", told["words"][row])
        for row, names in enumerate(told["informative"])
        if right[row] and isinstance(names, list) and "text" in names
    }
    hits = {method: ground_truth.word_hits(found.parts, method, carriers) for method in (UNREAD, *PART_METHODS)}
    return {f"word_hit_{method}": cast("float", own["hit"].mean()) for method, own in hits.items()}


def erasures(found: Explained, config: ExplainConfig) -> dict[str, float]:
    """Deletion, insertion, comprehensiveness and sufficiency of every method, beside a random order."""
    measured = {}
    for name, scores in (("shapley", found.shapley), ("gates", found.own_gates)):
        own, random = deletion.modality_measures(found.probability, scores, found.present)
        measured[name] = (own, random) if np.isfinite(scores).any() else (deletion.missing_measures(own), random)
    curves = [
        deletion.part_measures(found.falls[:, number], found.grows[:, number])
        for number in range(len(PART_METHODS) + 1)
    ]
    measured |= {method: (own, curves[-1]) for method, own in zip(PART_METHODS, curves[:-1], strict=True)}
    kinds = {"modalities": measured["shapley"][1], "parts": curves[-1]}
    return {
        **deletion.faithfulness_metrics(measured, found.rows["group"].to_numpy(), config.seed),
        **{
            f"random_{kind}_{name}": cast("float", random[name].mean())
            for kind, random in kinds.items()
            for name in ("comprehensiveness", "sufficiency")
        },
    }


def sanities(checked: pd.DataFrame) -> dict[str, float]:
    """Mean rank correlation of each method's scores with those of redrawn weights, and with those under noise."""
    noise = checked["change"] == randomisation.NOISE
    drawn, disturbed = (
        cast("pd.Series", checked[own].groupby("method", sort=False)["rank"].mean()) for own in (~noise, noise)
    )
    return {
        **{f"{method}_randomised_rank": rank for method, rank in drawn.items()},
        **{f"{method}_stability": rank for method, rank in disturbed.items()},
    }


def by_change(checked: pd.DataFrame) -> pd.DataFrame:
    """The same by layer, with how many utterances it was measured on."""
    own = checked.groupby(["method", "change"], sort=False)["rank"]
    return own.agg(rank="mean", utterances="count").reset_index()


def agreements(found: Explained) -> dict[str, dict[str, float] | float]:
    """Mean rank correlations: of methods over an utterance's parts, of teacher and student over modalities."""
    scores = {method: _wide(found, method) for method in PART_METHODS}
    pairs = {f"{a}~{b}": (scores[a], scores[b]) for a, b in combinations(PART_METHODS, 2)}
    absent = np.where(found.present, 0.0, np.nan)
    student, teacher = found.shapley + absent, shapley.values(found.taught) + absent
    pairs |= {"shapley~gates": (student, found.own_gates), "student~teacher": (student, teacher)}
    ranks = {name: _mean(agreement.rank_correlation(*pair)) for name, pair in pairs.items()}
    return {
        "agreement": ranks,
        "teacher_same_modality": _mean(agreement.same_top(student, teacher)),
        "teacher_same_modality_chance": (1 / found.present.sum(1)[found.present.any(1)]).mean(),
    }


def by_emotion(found: Explained, order: Modalities, modalities: Modalities) -> pd.DataFrame:
    """Per predicted emotion and modality: mean |Shapley value| and mean Shapley value, mean gate, utterances."""
    parts, taught = [], shapley.values(found.taught)
    for number, emotion in enumerate(order):
        own = (found.rows["predicted"] == number).to_numpy()
        for column, modality in enumerate(modalities if own.any() else ()):
            phi = found.shapley[own, column]
            parts.append(
                [
                    emotion,
                    modality,
                    np.abs(phi).mean(),
                    phi.mean(),
                    taught[own, column].mean(),
                    _mean(found.gates[own, number, column]),
                    own.sum(),
                ]
            )
    return pd.DataFrame(parts, columns=EMOTION_COLUMNS)


def curves(found: Explained) -> pd.DataFrame:
    """Mean probability of the predicted emotion while parts are taken away (deletion) and shown (insertion)."""
    rows = [
        [kind, method, share, mean[number, column]]
        for kind, mean in (("deletion", found.falls.mean(0)), ("insertion", found.grows.mean(0)))
        for number, method in enumerate((*PART_METHODS, RANDOM))
        for column, share in enumerate(deletion.FRACTIONS)
    ]
    return pd.DataFrame(rows, columns=["curve", "method", "share", "probability"])


def _wide(found: Explained, method: str) -> np.ndarray:
    """(n, P) the scores of each row's parts."""
    width = int(cast("int", found.parts["part"].max())) + 1 if len(found.parts) else 0
    wide = np.full((len(found.rows), width), np.nan)
    wide[found.parts["row"], found.parts["part"]] = found.parts[method]
    return wide


def table(found: Explained, order: Modalities, modalities: Modalities) -> pa.Table:
    """One row an utterance and modality: its Shapley value, its gate, and its parts with their scores."""
    own = found.parts.groupby(["row", "modality"], sort=False)
    parts = {key: rows.drop(columns=["row", "modality"]).to_dict("records") for key, rows in own}
    rows = [
        {
            **{name: getattr(row, name) for name in ("corpus", "dialogue", "utterance")},
            "predicted": order[row.predicted],
            "actual": order[row.actual] if row.actual >= 0 else None,
            "modality": modality,
            "present": bool(found.present[row.Index, column]),
            "shapley": found.shapley[row.Index, column],
            "gate": found.gates[row.Index, row.predicted, column],
            "parts": parts.get((row.Index, modality), []),
        }
        for row in cast("Iterable[_Row]", found.rows.itertuples())
        for column, modality in enumerate(modalities)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


_PART = pa.struct(
    [
        ("part", pa.int32()),
        ("start", pa.float32()),  # characters of the text, seconds of sound and picture
        ("end", pa.float32()),
        ("word", pa.string()),  # empty: the sentence as a whole, a span of sound, a moment of the face
        *[(method, pa.float32()) for method in PART_METHODS],
        (UNREAD, pa.float32()),  # NaN for what is no word
    ]
)
SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("corpus", "dialogue", "utterance", "predicted", "actual", "modality")],
        ("present", pa.bool_()),
        ("shapley", pa.float32()),  # of the log-odds of the predicted emotion
        ("gate", pa.float32()),  # NaN for a fusion without gates
        ("parts", pa.list_(_PART)),
    ]
)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

"""Summaries of the explanations of many utterances: metrics/explain.json and the tables of its plots."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, cast

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


def metrics(
    explanations: Explained,
    checked: pd.DataFrame,
    verdicts: list[GroundTruthHits],
    truth: pd.DataFrame,
    modalities: Modalities,
    config: ExplainConfig,
) -> dict:
    """The metrics of the stage, with their baselines; null where a corpus has no truth or a fusion no gates."""
    limit = gap_tolerance(torch.from_numpy(explanations.explained)).numpy()
    log_odds = explanations.coalition_log_odds
    missed = explanations.shapley.sum(1) - (log_odds[:, -1] - log_odds[:, 0])
    return {
        "utterances": len(explanations.rows),
        "shapley_gap": np.abs(missed).max(),
        "integrated_gradients_converged": (np.abs(explanations.gap) <= limit).mean(),
        "shap_gap": explanations.shap_gap.max(),
        **hit_metrics(verdicts),
        **first_words(explanations, truth),
        **erasures(explanations, config),
        **sanities(checked),
        **agreements(explanations),
        "shapley": dict(zip(modalities, np.abs(explanations.shapley).mean(0), strict=True)),
    }


def first_words(explanations: Explained, truth: pd.DataFrame) -> dict[str, float]:
    """Word hits of every method for the first student alone."""
    annotated = explanations.rows.merge(truth, how="left", on=["corpus", "utterance"])
    is_right = cast("Mapping[int, bool]", annotated["predicted"] == annotated["actual"])  # by row
    carriers = {
        row: cast("list[dict[str, int]]", annotated["words"][row])
        for row, names in enumerate(annotated["informative"])
        if is_right[row] and isinstance(names, list) and "text" in names
    }
    hits = {
        method: ground_truth.word_hits(explanations.parts, method, carriers) for method in (UNREAD, *PART_METHODS)
    }
    return {f"word_hit_{method}": cast("float", table["hit"].mean()) for method, table in hits.items()}


def erasures(explanations: Explained, config: ExplainConfig) -> dict[str, float]:
    """Deletion, insertion, comprehensiveness and sufficiency of every method, beside a random order."""
    measured = {}
    for name, scores in (("shapley", explanations.shapley), ("gates", explanations.predicted_gates)):
        measures, random = deletion.modality_measures(
            explanations.coalition_probability, scores, explanations.present
        )
        if not np.isfinite(scores).any():
            measures = measures * np.nan
        measured[name] = (measures, random)
    part_measures = [
        deletion.part_measures(explanations.deletion_curves[:, number], explanations.insertion_curves[:, number])
        for number in range(len(PART_METHODS) + 1)
    ]
    measured |= {
        method: (measures, part_measures[-1])
        for method, measures in zip(PART_METHODS, part_measures[:-1], strict=True)
    }
    kinds = {"modalities": measured["shapley"][1], "parts": part_measures[-1]}
    return {
        **deletion.faithfulness_metrics(measured, explanations.rows["group"].to_numpy(), config.seed),
        **{
            f"random_{kind}_{name}": cast("float", random[name].mean())
            for kind, random in kinds.items()
            for name in ("comprehensiveness", "sufficiency")
        },
    }


def sanities(checked: pd.DataFrame) -> dict[str, float]:
    """Mean rank correlation of each method's scores with those of redrawn weights, and with those under noise."""
    is_noise = checked["change"] == randomisation.NOISE
    drawn, disturbed = (
        cast("pd.Series", checked[rows].groupby("method", sort=False)["rank"].mean())
        for rows in (~is_noise, is_noise)
    )
    return {
        **{f"{method}_randomised_rank": rank for method, rank in drawn.items()},
        **{f"{method}_stability": rank for method, rank in disturbed.items()},
    }


def by_change(checked: pd.DataFrame) -> pd.DataFrame:
    """Mean rank correlation of each method under each change, with the number of utterances it is measured on."""
    ranks = checked.groupby(["method", "change"], sort=False)["rank"]
    return ranks.agg(rank="mean", utterances="count").reset_index()


def agreements(explanations: Explained) -> dict[str, dict[str, float] | float]:
    """Mean rank correlations: of methods over an utterance's parts, of teacher and student over modalities."""
    scores = {method: _wide(explanations, method) for method in PART_METHODS}
    pairs = {f"{a}~{b}": (scores[a], scores[b]) for a, b in combinations(PART_METHODS, 2)}
    absent = np.where(explanations.present, 0.0, np.nan)
    student, teacher = explanations.shapley + absent, shapley.values(explanations.teacher_log_odds) + absent
    pairs |= {"shapley~gates": (student, explanations.predicted_gates), "student~teacher": (student, teacher)}
    ranks = {name: _mean(agreement.rank_correlation(*pair)) for name, pair in pairs.items()}
    return {
        "agreement": ranks,
        "teacher_same_modality": _mean(agreement.same_top(student, teacher)),
        "teacher_same_modality_chance": (1 / explanations.present.sum(1)[explanations.present.any(1)]).mean(),
    }


def by_emotion(explanations: Explained, order: Modalities, modalities: Modalities) -> pd.DataFrame:
    """Per predicted emotion and modality: mean |Shapley value| and mean Shapley value, mean gate, utterances."""
    rows, teacher_shapley = [], shapley.values(explanations.teacher_log_odds)
    for number, emotion in enumerate(order):
        is_predicted = (explanations.rows["predicted"] == number).to_numpy()
        for column, modality in enumerate(modalities if is_predicted.any() else ()):
            phi = explanations.shapley[is_predicted, column]
            rows.append(
                [
                    emotion,
                    modality,
                    np.abs(phi).mean(),
                    phi.mean(),
                    teacher_shapley[is_predicted, column].mean(),
                    _mean(explanations.gates[is_predicted, number, column]),
                    is_predicted.sum(),
                ]
            )
    return pd.DataFrame(rows, columns=EMOTION_COLUMNS)


def curves(explanations: Explained) -> pd.DataFrame:
    """Mean probability of the predicted emotion while parts are removed (deletion) and added (insertion)."""
    means = {"deletion": explanations.deletion_curves.mean(0), "insertion": explanations.insertion_curves.mean(0)}
    rows = [
        [kind, method, share, mean[number, column]]
        for kind, mean in means.items()
        for number, method in enumerate((*PART_METHODS, RANDOM))
        for column, share in enumerate(deletion.FRACTIONS)
    ]
    return pd.DataFrame(rows, columns=["curve", "method", "share", "probability"])


def _wide(explanations: Explained, method: str) -> np.ndarray:
    """(n, P) the scores of each row's parts."""
    width = int(cast("int", explanations.parts["part"].max())) + 1 if len(explanations.parts) else 0
    wide = np.full((len(explanations.rows), width), np.nan)
    wide[explanations.parts["row"], explanations.parts["part"]] = explanations.parts[method]
    return wide


def table(explanations: Explained, order: Modalities, modalities: Modalities) -> pa.Table:
    """One row an utterance and modality: its Shapley value, its gate, and its parts with their scores."""
    by_modality = explanations.parts.groupby(["row", "modality"], sort=False)
    parts = {key: rows.drop(columns=["row", "modality"]).to_dict("records") for key, rows in by_modality}
    rows = [
        {
            **{name: getattr(row, name) for name in ("corpus", "dialogue", "utterance")},
            "predicted": order[row.predicted],
            "actual": order[row.actual] if row.actual >= 0 else None,
            "modality": modality,
            "present": bool(explanations.present[row.Index, column]),
            "shapley": explanations.shapley[row.Index, column],
            "gate": explanations.gates[row.Index, row.predicted, column],
            "parts": parts.get((row.Index, modality), []),
        }
        for row in cast("Iterable[Any]", explanations.rows.itertuples())
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
        (UNREAD, pa.float32()),  # NaN of a part that is not a word
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

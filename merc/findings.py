"""What the explanations of many utterances say together: metrics/explain.json and the tables behind its plots."""

import numpy as np
import pandas as pd
import pyarrow as pa

from merc import faithfulness, pointing, shapley
from merc.explanation import PART_METHODS, RANDOM, UNREAD, ExplainConfig, Explained
from merc.integration import GAP, GAP_SHARE

Modalities = tuple[str, ...]


def metrics(found: Explained, truth: pd.DataFrame, modalities: Modalities, config: ExplainConfig) -> dict:
    """Baselines stand beside what they are a baseline of; null where a corpus has no truth or a fusion no gates."""
    limit = np.maximum(GAP_SHARE * np.abs(found.explained), GAP)
    missed = found.shapley.sum(1) - (found.worth[:, -1] - found.worth[:, 0])
    return {
        "utterances": len(found.rows),
        "shapley_gap": np.abs(missed).max(),
        "integrated_gradients_converged": (np.abs(found.gap) <= limit).mean(),
        **hits(found, truth, modalities),
        **_deletions(found, config),
        "shapley": dict(zip(modalities, np.abs(found.shapley).mean(0), strict=True)),
    }


def hits(found: Explained, truth: pd.DataFrame, modalities: Modalities) -> dict[str, float]:
    """Over correctly predicted utterances that the truth knows; neutral ones have nothing to point at."""
    told = found.rows.merge(truth, how="left", on=["corpus", "utterance"])
    correct = told["predicted"] == told["actual"]
    informative = [
        names if right and isinstance(names, list) else []
        for names, right in zip(told["informative"], correct, strict=True)
    ]
    carriers = {row: told["words"][row] for row, names in enumerate(informative) if "text" in names}
    own = _modality_hits(found, modalities, informative)
    words = {method: pointing.word_hits(found.parts, method, carriers) for method in (UNREAD, *PART_METHODS)}
    first = words[UNREAD]
    return {
        "modality_hit": own["shapley"]["hit"].mean(),
        "modality_hit_gates": own["gates"]["hit"].mean(),
        "modality_hit_chance": own["shapley"]["chance"].mean(),
        "modality_hit_constant": pointing.constant(own["shapley"]),
        "modality_hit_utterances": len(own["shapley"]),
        "word_hit": first["hit"].mean(),
        **{f"word_hit_{method}": words[method]["hit"].mean() for method in PART_METHODS},
        "word_hit_chance": first["chance"].mean(),
        "word_hit_utterances": len(first),
    }


def by_emotion(found: Explained, order: Modalities, modalities: Modalities) -> pd.DataFrame:
    """Per predicted emotion and modality: mean |Shapley value|, mean Shapley value, mean gate, utterances."""
    parts = []
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
                    _mean(found.gates[own, number, column]),
                    own.sum(),
                ]
            )
    return pd.DataFrame(parts, columns=["emotion", "modality", "shapley_absolute", "shapley", "gate", "utterances"])


def deletion_curves(found: Explained) -> pd.DataFrame:
    """Mean probability of the predicted emotion after a share of the parts was deleted, by method."""
    mean = found.curves.mean(0)
    rows = [
        [method, share, mean[number, column]]
        for number, method in enumerate((*PART_METHODS, RANDOM))
        for column, share in enumerate(faithfulness.SHARES)
    ]
    return pd.DataFrame(rows, columns=["method", "share", "probability"])


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
        for row in found.rows.itertuples()
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


def _modality_hits(
    found: Explained, modalities: Modalities, informative: list[list[str]]
) -> dict[str, pd.DataFrame]:
    scores = {"shapley": found.shapley, "gates": _own_gates(found)}
    absent = np.where(found.present, 0.0, np.nan)
    return {name: pointing.modality_hits(own + absent, modalities, informative) for name, own in scores.items()}


def _own_gates(found: Explained) -> np.ndarray:
    """(n, M) the gates of the predicted emotion."""
    return found.gates[np.arange(len(found.rows)), found.rows["predicted"]]


def _deletions(found: Explained, config: ExplainConfig) -> dict[str, float]:
    """The area under the random order's curve minus the method's, and its paired lower bound."""
    gains = {}
    for name, scores in (("shapley", found.shapley), ("gates", _own_gates(found))):
        own, random = shapley.removal(found.probability, scores, found.present)
        gains[name] = random - own if np.isfinite(scores).any() else np.full(len(own), np.nan)
    areas = faithfulness.area(found.curves)
    gains |= {method: areas[:, -1] - areas[:, number] for number, method in enumerate(PART_METHODS)}
    groups, board = found.rows["group"].to_numpy(), {}
    for name, gain in gains.items():
        board[f"{name}_deletion"] = gain.mean()
        board[f"{name}_deletion_low"] = faithfulness.lower_bound(gain, groups, config.seed)
    return board


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

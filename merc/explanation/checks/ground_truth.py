"""Explanations against ground truth: do students' attributions point where the generator put the emotion?

Each seed's student is judged by its own attributions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from merc.explanation.counterfactual import Probe, explained_classes
from merc.explanation.explainer import UNREAD, Sources, case_of, coalitions_of
from merc.explanation.methods import shapley
from merc.explanation.methods.word_masking import masked_word_scores

NEUTRAL = "neutral"  # left out: no part carries the emotion
KEY_COLUMNS = ["corpus", "utterance"]


@dataclass(frozen=True)
class GroundTruthHits:
    """Hits of one student: rows of its correctly predicted utterances that are not neutral, with its `seed`."""

    judged: pd.DataFrame  # corpus, utterance: all of them
    # corpus, utterance, hit, gates, chance, informative: exactly one modality is informative
    modality: pd.DataFrame
    words: pd.DataFrame  # corpus, utterance, hit, chance: text is informative


def ground_truth_hits(
    network: Any, sources: Sources, truth: pd.DataFrame, dialogues: list[int], seed: int
) -> GroundTruthHits:
    """Hits of a student's Shapley values, gates and masked words in some dialogues."""
    probe = Probe(network, sources.split.batch(dialogues))
    index = probe.batch["index"].cpu().numpy()
    annotations = sources.split.manifest.iloc[index][KEY_COLUMNS].merge(truth, how="left", on=KEY_COLUMNS)
    outputs = probe.outputs(probe.rows)
    emotion = outputs[probe.task].argmax(1)
    is_judged = ((emotion == probe.actual) & (emotion != _neutral(network))).cpu().numpy()
    informative = [
        names if judged and isinstance(names, list) else []
        for names, judged in zip(annotations["informative"], is_judged, strict=True)
    ]
    carriers = {row: annotations["words"][row] for row, names in enumerate(informative) if "text" in names}
    tables = (
        _student_modality_hits(probe, emotion, outputs, informative),
        _student_word_hits(probe, emotion, sources, index, carriers),
    )
    hits = [
        annotations[KEY_COLUMNS].iloc[table.pop("row")].reset_index(drop=True).join(table).assign(seed=seed)
        for table in tables
    ]
    return GroundTruthHits(annotations[KEY_COLUMNS][is_judged].assign(seed=seed), *hits)


def concatenate_hits(pieces: Iterable[GroundTruthHits]) -> GroundTruthHits:
    """Concatenate the hits of one student."""
    columns = zip(*((piece.judged, piece.modality, piece.words) for piece in pieces), strict=True)
    return GroundTruthHits(*(pd.concat(tables, ignore_index=True) for tables in columns))


def hit_metrics(students: list[GroundTruthHits]) -> dict[str, float]:
    """Metrics over all students; `_utterances` counts distinct utterances, `_judgements` each student's."""
    judged, modality, words = (
        pd.concat([getattr(hits, name) for hits in students], ignore_index=True)
        for name in ("judged", "modality", "words")
    )
    metrics = {
        "utterances_judged": _distinct(judged),
        "modality_hit": modality["hit"].mean(),
        "modality_hit_gates": modality["gates"].mean(),
        "modality_hit_chance": modality["chance"].mean(),
        "modality_hit_constant": constant_hit_rate(modality),
        "modality_hit_utterances": _distinct(modality),
        "modality_hit_judgements": len(modality),
        "word_hit": words["hit"].mean(),
        "word_hit_chance": words["chance"].mean(),
        "word_hit_utterances": _distinct(words),
        "word_hit_judgements": len(words),
    }
    return cast("dict[str, float]", metrics)  # the mean of a column is a number


def metrics_by_seed(students: list[GroundTruthHits]) -> pd.DataFrame:
    """The same metrics, one row per student."""
    return pd.DataFrame(
        [{"seed": hits.judged["seed"].iloc[0], **hit_metrics([hits])} for hits in students if len(hits.judged)]
    )


def modality_hits(scores: np.ndarray, modalities: tuple[str, ...], informative: list[list[str]]) -> pd.DataFrame:
    """One row per utterance with exactly one informative modality: is it the top modality?

    scores (N, M), NaN for an absent modality. Columns: row, hit, chance (of a modality drawn from those present),
    informative (that modality).
    """
    rows = [row for row, names in enumerate(informative) if len(names) == 1 and names[0] in modalities]
    hits = [
        {
            "row": row,
            "hit": modalities[int(np.nanargmax(scores[row]))] == informative[row][0],
            "chance": 1 / np.isfinite(scores[row]).sum(),
            "informative": informative[row][0],
        }
        for row in rows
        if np.isfinite(scores[row]).any()
    ]
    return pd.DataFrame(hits, columns=["row", "hit", "chance", "informative"])


def word_hits(parts: pd.DataFrame, scores: str, carriers: dict[int, list[dict[str, int]]]) -> pd.DataFrame:
    """One row per utterance in `carriers` (row -> spans) that has words: is its top word a carrier?

    Columns: row, hit, chance (of a word drawn at random). `scores` is a column of `parts`; words whose score is NaN
    are left out.
    """
    is_word = (parts["modality"] == "text") & (parts["word"] != "") & parts[scores].notna()
    words = parts[is_word & parts["row"].isin(list(carriers))]
    hits = []
    by_row = cast("Iterable[tuple[int, pd.DataFrame]]", words.groupby("row"))
    for row, row_words in by_row:
        spans = zip(row_words["start"], row_words["end"], strict=True)
        is_carrier = np.array([_overlaps(start, end, carriers[row]) for start, end in spans])
        hits.append({"row": row, "hit": is_carrier[int(row_words[scores].argmax())], "chance": is_carrier.mean()})
    return pd.DataFrame(hits, columns=["row", "hit", "chance"])


def constant_hit_rate(hits: pd.DataFrame) -> float:
    """Hit rate of always answering the most frequent informative modality; NaN without rows."""
    return float(hits["informative"].value_counts(normalize=True).max()) if len(hits) else np.nan


def _neutral(network: Any) -> int:
    """Index of the neutral emotion; -1 if the label space has none."""
    labels = explained_classes(network)
    return labels.index(NEUTRAL) if NEUTRAL in labels else -1


def _student_modality_hits(probe: Probe, emotion: Any, outputs: dict, informative: list[list[str]]) -> pd.DataFrame:
    """modality_hits of the Shapley values, with the hits of the gates in column gates; NaN without gates."""
    modalities = probe.network.modalities
    log_odds, _, present = coalitions_of(probe, emotion)
    absent = np.where(present, 0.0, np.nan)
    hits = modality_hits(shapley.values(log_odds) + absent, modalities, informative)
    if "gate" not in outputs:
        return hits.assign(gates=np.nan)
    gates = outputs["gate"][probe.rows, emotion].cpu().double().numpy() + absent
    return hits.assign(gates=modality_hits(gates, modalities, informative)["hit"])


def _student_word_hits(
    probe: Probe, emotion: Any, sources: Sources, index: np.ndarray, carriers: dict
) -> pd.DataFrame:
    """word_hits of the log-odds' falls when a word is masked."""
    case = case_of(probe, emotion, sources.units, index, sources.split.manifest["text"].to_numpy()[index])
    is_scored = np.isin(np.arange(len(index)), list(carriers))
    scores = masked_word_scores(case, sources.readings, index, is_scored)
    table = case.parts.table
    return word_hits(table.assign(**{UNREAD: scores[table["row"], table["part"]]}), UNREAD, carriers)


def _distinct(rows: pd.DataFrame) -> int:
    return len(rows.drop_duplicates(KEY_COLUMNS))


def _overlaps(start: float, end: float, spans: list[dict[str, int]]) -> bool:
    return any(start < span["end"] and span["start"] < end for span in spans)

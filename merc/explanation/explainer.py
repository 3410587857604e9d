"""Explains predictions by every method that the stage explain measures, utterance by utterance."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import nn

from merc.data.batches.dataset import Split
from merc.explanation import parts
from merc.explanation.checks import deletion
from merc.explanation.counterfactual import Probe, log_odds, probability
from merc.explanation.methods import shap_values, shapley
from merc.explanation.methods.part_attribution import Case, integrated_gradients, occlusion
from merc.explanation.methods.word_masking import WordMasker, masked_word_scores
from merc.explanation.units import Units
from merc.runtime.params import Seed, StrictModel

ROW = ("corpus", "dialogue", "utterance", "group")
PART_METHODS = ("integrated_gradients", "occlusion", "shap")
UNREAD = "unread"  # of words alone, through the language model
RANDOM = "random"
MAX_UTTERANCES = 30  # utterances that one process explains at a time, up to one dialogue more


class ExplainConfig(StrictModel):
    """Section `explain` of params.yaml."""

    utterances: int = Field(ge=1)
    random_orders: int = Field(ge=1)
    seed: Seed


@dataclass(frozen=True)
class Explained:
    """n utterances, C emotions, M modalities; what is explained is the log-odds of the predicted emotion."""

    rows: pd.DataFrame  # ROW, actual and predicted (label numbers)
    present: np.ndarray  # (n, M) bool
    coalition_log_odds: np.ndarray  # (n, 2^M) under every coalition of modalities
    coalition_probability: np.ndarray  # (n, 2^M) the same as a probability
    gates: np.ndarray  # (n, C, M) gate of each modality for each emotion; NaN of a fusion without gates
    parts: pd.DataFrame  # one row a part of an utterance: row, part, modality, start, end, word, scores
    teacher_log_odds: np.ndarray  # (n, 2^M) the teacher's of the emotion that the student predicts
    deletion_curves: np.ndarray  # (n, PART_METHODS and RANDOM, shares) probability while parts are removed
    insertion_curves: np.ndarray  # (n, PART_METHODS and RANDOM, shares) probability while parts are added
    explained: np.ndarray  # (n,) log-odds minus those of the blank utterance: what integrated gradients explain
    gap: np.ndarray  # (n,) `explained` minus the sum of the integrated gradients
    shap_gap: np.ndarray  # (n,) absolute difference between the sum of the SHAP values and what they explain

    @property
    def shapley(self) -> np.ndarray:
        """(n, M) exact Shapley values of the modalities, 0 for an absent one."""
        return shapley.values(self.coalition_log_odds)

    @property
    def predicted_gates(self) -> np.ndarray:
        """(n, M) the gates of the predicted emotion; NaN of an absent modality."""
        gates = self.gates[np.arange(len(self.rows)), self.rows["predicted"]]
        return np.where(self.present, gates, np.nan)


def choose(split: Split, utterances: int) -> list[list[int]]:
    """Dialogues with at least `utterances` utterances in total, drawn by a hash of their names.

    In pieces of about MAX_UTTERANCES utterances.
    """
    names = split.manifest["group"].to_numpy()[split.starts[:-1].cpu().numpy()]
    lengths = np.diff(split.starts.cpu().numpy())
    order = np.array([hashlib.sha256(name.encode()).digest() for name in names], dtype="S32").argsort(kind="stable")
    chosen = order[: np.searchsorted(lengths[order].cumsum(), min(utterances, len(split))) + 1]
    chosen.sort()
    piece = (lengths[chosen].cumsum() - 1) // MAX_UTTERANCES
    return [chosen[piece == number].tolist() for number in np.unique(piece)]


@dataclass(frozen=True)
class Sources:
    """What explanations need beside the network: the split, its steps' units, the language models of its texts."""

    split: Split
    units: Units
    readings: dict[str, WordMasker]


def explain(
    network: nn.Module, teacher: nn.Module, sources: Sources, config: ExplainConfig, dialogues: list[int]
) -> Explained:
    """Explain the network's prediction for every utterance of the dialogues.

    The teacher's log-odds are those of the emotion that the network predicts.
    """
    split = sources.split
    probe = Probe(network, split.batch(dialogues))
    index = probe.batch["index"].cpu().numpy()
    rows = split.manifest.iloc[index][list(ROW)].reset_index(drop=True)
    outputs = probe.outputs(probe.rows)
    emotion = outputs[probe.task].argmax(1)
    rows["actual"], rows["predicted"] = probe.actual.cpu().numpy(), emotion.cpu().numpy()
    coalition_log_odds, coalition_probability, present = coalitions_of(probe, emotion)
    teacher_log_odds, _, _ = coalitions_of(Probe(teacher, probe.batch), emotion)
    case = case_of(probe, emotion, sources.units, index, split.manifest["text"].to_numpy()[index])
    attributions = _attribute(case, [f"{row.corpus}/{row.utterance}" for row in rows.itertuples()], config)
    table, word_scores = attributions.pop("parts"), masked_word_scores(case, sources.readings, index)
    table[UNREAD] = word_scores[table["row"], table["part"]]
    gates = (
        outputs["gate"].cpu().double().numpy()
        if "gate" in outputs
        else np.full((len(rows), outputs[probe.task].shape[1], present.shape[1]), np.nan)
    )
    return Explained(
        rows, present, coalition_log_odds, coalition_probability, gates, table, teacher_log_odds, **attributions
    )


def join(pieces: list[Explained]) -> Explained:
    """Concatenate the explanations of several pieces."""
    before = np.cumsum([0, *(len(piece.rows) for piece in pieces)])
    tables = [
        piece.parts.assign(row=piece.parts["row"] + first) for piece, first in zip(pieces, before[:-1], strict=True)
    ]
    arrays = {
        field.name: np.concatenate([getattr(piece, field.name) for piece in pieces])
        for field in fields(Explained)
        if field.name not in ("rows", "parts")
    }
    rows = pd.concat([piece.rows for piece in pieces], ignore_index=True)
    return Explained(rows=rows, parts=pd.concat(tables, ignore_index=True), **arrays)


def coalitions_of(probe: Probe, emotion: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds and probability (N, 2^M) of each row's emotion (N,) under every coalition; presence (N, M)."""
    present = probe.batch["present"].cpu().numpy()
    masks = torch.from_numpy(shapley.coalitions(present.shape[1])).to(emotion.device)
    rows = probe.rows.repeat_interleave(len(masks))
    logits = probe.logits(rows, masks.repeat(len(probe), 1)).cpu().double()
    row_emotion = emotion[rows].cpu()
    by_coalition = [measure(logits, row_emotion).view(len(probe), -1) for measure in (log_odds, probability)]
    coalition_log_odds, coalition_probability = (
        shapley.restrict_to_present(values.numpy(), present) for values in by_coalition
    )
    return coalition_log_odds, coalition_probability, present


def case_of(probe: Probe, emotion: torch.Tensor, units: Units, index: np.ndarray, texts: np.ndarray) -> Case:
    """The case of a probe whose rows are the rows `index` (N,) of the split, with their texts (N,)."""
    unit_arrays = {stream: arrays for stream, arrays in units.of(index).items() if stream in probe.entries}
    cut = parts.take_apart(unit_arrays, [text or "" for text in texts], units.seconds)
    owner = {stream: torch.from_numpy(numbers).to(emotion.device) for stream, numbers in cut.owner.items()}
    blanks = {stream: units.blanks[stream].to(emotion.device) for stream in unit_arrays}
    return Case(probe, emotion, blanks, cut, owner)


def _attribute(case: Case, names: list[str], config: ExplainConfig) -> dict[str, Any]:
    """The fields of `Explained` that the attributions of parts give; `names` (N,) seed the random orders."""
    gradients, shap = integrated_gradients(case), shap_values.part_shap_values(case, config.seed)
    scores = dict(
        zip(
            PART_METHODS,
            (gradients.of_parts(case.parts), occlusion(case), shap.values[case.probe.task]),
            strict=True,
        )
    )
    counts, table = case.parts.counts, case.parts.table
    orders = [deletion.random_scores(names, counts, order, config.seed) for order in range(config.random_orders)]
    reversed_scores = [-method_scores for method_scores in scores.values()]
    # (K, n, shares)
    curves = deletion.deletion_curves(case, [*scores.values(), *reversed_scores, *orders])
    by_method, reversed_by_method, random = np.split(curves, (len(scores), 2 * len(scores)))
    for method, method_scores in scores.items():
        table = table.assign(**{method: method_scores[table["row"], table["part"]]})
    return {
        "parts": table,
        "deletion_curves": np.stack([*by_method, random.mean(0)], axis=1),
        # a random order backwards is as random
        "insertion_curves": deletion.insertion_curves(np.stack([*reversed_by_method, random.mean(0)], axis=1)),
        "explained": gradients.explained,
        "gap": gradients.gap,
        "shap_gap": shap.gap,
    }

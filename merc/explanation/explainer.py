"""Everything that is found out about why a network predicts what it predicts, utterance by utterance."""

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
from merc.runtime.params import StrictModel

ROW = ("corpus", "dialogue", "utterance", "group")
PART_METHODS = ("integrated_gradients", "occlusion", "shap")
UNREAD = "unread"  # of words alone, through the language model
RANDOM = "random"
AT_ONCE = 30  # utterances that one process explains at a time


class ExplainConfig(StrictModel):
    """Section `explain` of params.yaml."""

    utterances: int = Field(ge=1)
    random_orders: int = Field(ge=1)
    seed: int = Field(ge=0)


@dataclass(frozen=True)
class Explained:
    """n utterances, C emotions, M modalities; what is explained is the log-odds of the predicted emotion."""

    rows: pd.DataFrame  # ROW, actual and predicted (label numbers)
    present: np.ndarray  # (n, M) bool
    worth: np.ndarray  # (n, 2^M) log-odds under every coalition of modalities
    probability: np.ndarray  # (n, 2^M) the same as a probability
    gates: np.ndarray  # (n, C, M) each emotion's trust in each modality; NaN of a fusion without gates
    parts: pd.DataFrame  # one row a part of an utterance: row, part, modality, start, end, word, scores
    taught: np.ndarray  # (n, 2^M) the teacher's worth of the emotion that the student predicts
    falls: np.ndarray  # (n, PART_METHODS and RANDOM, shares) probability while parts are taken away
    grows: np.ndarray  # (n, PART_METHODS and RANDOM, shares) probability while parts are shown
    explained: np.ndarray  # (n,) log-odds minus those of the blank utterance: what integrated gradients explain
    gap: np.ndarray  # (n,) what they miss of it
    shap_gap: np.ndarray  # (n,) what SHAP values miss of it

    @property
    def shapley(self) -> np.ndarray:
        """(n, M), 0 for an absent modality."""
        return shapley.values(self.worth)

    @property
    def own_gates(self) -> np.ndarray:
        """(n, M) the gates of the predicted emotion; NaN of an absent modality."""
        own = self.gates[np.arange(len(self.rows)), self.rows["predicted"]]
        return np.where(self.present, own, np.nan)


def choose(split: Split, utterances: int) -> list[list[int]]:
    """Whole dialogues with at least so many utterances, drawn by their names; about AT_ONCE utterances a piece."""
    names = split.manifest["group"].to_numpy()[split.starts[:-1].cpu().numpy()]
    lengths = np.diff(split.starts.cpu().numpy())
    order = np.array([hashlib.sha256(name.encode()).digest() for name in names], dtype="S32").argsort(kind="stable")
    taken = order[: np.searchsorted(lengths[order].cumsum(), min(utterances, len(split))) + 1]
    taken.sort()
    piece = (lengths[taken].cumsum() - 1) // AT_ONCE
    return [taken[piece == number].tolist() for number in np.unique(piece)]


@dataclass(frozen=True)
class Sources:
    """What explanations need beside the network: the split, what its steps are, the language models behind it."""

    split: Split
    units: Units
    readings: dict[str, WordMasker]


def explain(
    network: nn.Module, teacher: nn.Module, sources: Sources, config: ExplainConfig, dialogues: list[int]
) -> Explained:
    """Explain every utterance of the dialogues; the teacher is asked about what the network predicts."""
    split = sources.split
    probe = Probe(network, split.batch(dialogues))
    index = probe.batch["index"].cpu().numpy()
    rows = split.manifest.iloc[index][list(ROW)].reset_index(drop=True)
    known = probe.answer(probe.rows)
    emotion = known["emotion"].argmax(1)
    rows["actual"], rows["predicted"] = probe.batch["emotion"].cpu().numpy(), emotion.cpu().numpy()
    worth, chances, present = coalitions_of(probe, emotion)
    taught, _, _ = coalitions_of(Probe(teacher, probe.batch), emotion)
    case = case_of(probe, emotion, sources.units, index, split.manifest["text"].to_numpy()[index])
    found = _parts(case, [f"{one.corpus}/{one.utterance}" for one in rows.itertuples()], config)
    table, words = found.pop("parts"), masked_word_scores(case, sources.readings, index)
    table[UNREAD] = words[table["row"], table["part"]]
    gates = (
        known["gate"].cpu().double().numpy()
        if "gate" in known
        else np.full((len(rows), known["emotion"].shape[1], present.shape[1]), np.nan)
    )
    return Explained(rows, present, worth, chances, gates, table, taught, **found)


def join(pieces: list[Explained]) -> Explained:
    """One after another."""
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
    """(N, 2^M) log-odds and probabilities of every coalition, and who is present."""
    present = probe.batch["present"].cpu().numpy()
    masks = torch.from_numpy(shapley.coalitions(present.shape[1])).to(emotion.device)
    rows = probe.rows.repeat_interleave(len(masks))
    logits, asked = probe.logits(rows, masks.repeat(len(probe), 1)).cpu().double(), emotion[rows].cpu()
    found = [ask(logits, asked).view(len(probe), -1) for ask in (log_odds, probability)]
    worth, chances = (shapley.restrict_to_present(one.numpy(), present) for one in found)
    return worth, chances, present


def case_of(probe: Probe, emotion: torch.Tensor, units: Units, index: np.ndarray, texts: np.ndarray) -> Case:
    """What is asked about the rows `index` of the split, whose texts these are."""
    there = {stream: own for stream, own in units.of(index).items() if stream in probe.entries}
    own = parts.take_apart(there, [text or "" for text in texts], units.seconds)
    owner = {stream: torch.from_numpy(one).to(emotion.device) for stream, one in own.owner.items()}
    blanks = {stream: units.blanks[stream].to(emotion.device) for stream in there}
    return Case(probe, emotion, blanks, own, owner)


def _parts(case: Case, names: list[str], config: ExplainConfig) -> dict[str, Any]:
    """The table of parts with their scores, deletion and insertion, and what the methods leave open."""
    found, heard = integrated_gradients(case), shap_values.part_shap_values(case, config.seed)
    scores = dict(
        zip(PART_METHODS, (found.of_parts(case.parts), occlusion(case), heard.values["emotion"]), strict=True)
    )
    counts, table = case.parts.counts, case.parts.table
    orders = [deletion.random_scores(names, counts, order, config.seed) for order in range(config.random_orders)]
    backwards = [-own for own in scores.values()]
    curves = deletion.deletion_curves(case, [*scores.values(), *backwards, *orders])  # (K, n, shares)
    own, reverse, random = np.split(curves, (len(scores), 2 * len(scores)))
    for method, one in scores.items():
        table = table.assign(**{method: one[table["row"], table["part"]]})
    return {
        "parts": table,
        "falls": np.stack([*own, random.mean(0)], axis=1),
        # a random order backwards is as random
        "grows": deletion.insertion_curves(np.stack([*reverse, random.mean(0)], axis=1)),
        "explained": found.explained,
        "gap": found.gap,
        "shap_gap": heard.gap,
    }

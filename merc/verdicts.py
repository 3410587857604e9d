"""Do the reasons of every seed's student point where the generator put the emotion? Each student has its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from merc import pointing, shapley
from merc.explanation import UNREAD, Sources, case_of, coalitions_of
from merc.probe import Probe
from merc.reading import unread

NEUTRAL = "neutral"  # says nothing, so that there is nothing to point at
NAME = ["corpus", "utterance"]


@dataclass(frozen=True)
class Verdict:
    """About one student: rows of its correctly predicted utterances that are not neutral, `seed` in each."""

    judged: pd.DataFrame  # NAME: all of them
    modality: pd.DataFrame  # NAME, hit, gates, chance, informative: exactly one modality is informative
    words: pd.DataFrame  # NAME, hit, chance: text is informative


def verdict(network: Any, sources: Sources, truth: pd.DataFrame, dialogues: list[int], seed: int) -> Verdict:
    """What the truth says of a student's Shapley values, gates and unread words."""
    probe = Probe(network, sources.split.batch(dialogues))
    index = probe.batch["index"].cpu().numpy()
    told = sources.split.manifest.iloc[index][NAME].merge(truth, how="left", on=NAME)
    answer = probe.answer(probe.rows)
    emotion = answer["emotion"].argmax(1)
    right = ((emotion == probe.batch["emotion"]) & (emotion != _neutral(network))).cpu().numpy()
    informative = [
        names if own and isinstance(names, list) else []
        for names, own in zip(told["informative"], right, strict=True)
    ]
    carriers = {row: told["words"][row] for row, names in enumerate(informative) if "text" in names}
    found = (_modalities(probe, emotion, answer, informative), _words(probe, emotion, sources, index, carriers))
    named = [told[NAME].iloc[one.pop("row")].reset_index(drop=True).join(one).assign(seed=seed) for one in found]
    return Verdict(told[NAME][right].assign(seed=seed), *named)


def join(pieces: Iterable[Verdict]) -> Verdict:
    """About one student, one piece after another."""
    columns = zip(*((one.judged, one.modality, one.words) for one in pieces), strict=True)
    return Verdict(*(pd.concat(own, ignore_index=True) for own in columns))


def board(verdicts: list[Verdict]) -> dict[str, float]:
    """Over all students; an utterance is counted once in `_utterances`, once a student in `_judgements`."""
    judged, modality, words = (
        pd.concat([getattr(one, name) for one in verdicts], ignore_index=True)
        for name in ("judged", "modality", "words")
    )
    return {
        "utterances_judged": _distinct(judged),
        "modality_hit": modality["hit"].mean(),
        "modality_hit_gates": modality["gates"].mean(),
        "modality_hit_chance": modality["chance"].mean(),
        "modality_hit_constant": pointing.constant(modality),
        "modality_hit_utterances": _distinct(modality),
        "modality_hit_judgements": len(modality),
        "word_hit": words["hit"].mean(),
        "word_hit_chance": words["chance"].mean(),
        "word_hit_utterances": _distinct(words),
        "word_hit_judgements": len(words),
    }


def by_seed(verdicts: list[Verdict]) -> pd.DataFrame:
    """The same, a row a student."""
    return pd.DataFrame(
        [{"seed": one.judged["seed"].iloc[0], **board([one])} for one in verdicts if len(one.judged)]
    )


def _neutral(network: Any) -> int:
    order = network.labels["emotion"]
    return order.index(NEUTRAL) if NEUTRAL in order else -1


def _modalities(probe: Probe, emotion: Any, answer: dict, informative: list[list[str]]) -> pd.DataFrame:
    modalities = probe.network.modalities
    worth, _, present = coalitions_of(probe, emotion)
    absent = np.where(present, 0.0, np.nan)
    hits = pointing.modality_hits(shapley.values(worth) + absent, modalities, informative)
    if "gate" not in answer:
        return hits.assign(gates=np.nan)
    gates = answer["gate"][probe.rows, emotion].cpu().double().numpy() + absent
    return hits.assign(gates=pointing.modality_hits(gates, modalities, informative)["hit"])


def _words(probe: Probe, emotion: Any, sources: Sources, index: np.ndarray, carriers: dict) -> pd.DataFrame:
    case = case_of(probe, emotion, sources.units, index, sources.split.manifest["text"].to_numpy()[index])
    asked = np.isin(np.arange(len(index)), list(carriers))
    scores = unread(case, sources.readings, index, asked)
    table = case.parts.table
    return pointing.word_hits(table.assign(**{UNREAD: scores[table["row"], table["part"]]}), UNREAD, carriers)


def _distinct(rows: pd.DataFrame) -> int:
    return len(rows.drop_duplicates(NAME))

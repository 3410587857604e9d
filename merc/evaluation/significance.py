"""Significance of the difference between two models: paired tests on the same utterances."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from merc.data.records.selection import MAIN_METRIC, TITLES
from merc.evaluation import bootstrap
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions, read_predictions
from merc.runtime.errors import CommandLine, UserError
from merc.training.core import scores

LEVEL = 0.05
MEASURE = "macro_f1"
ROUNDS = 1000
USAGE = "python -m merc compare <another run's predictions.parquet> [<their model> <our model>]"


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """(...) of (..., C, C) confusion counts."""
    return scores.summarise(counts)[MEASURE]


def compare(
    first: Predictions,
    second: Predictions,
    models: tuple[str, str],
    task: str,
    rounds: int,
    names: tuple[str, str] | None = None,
) -> dict:
    """second - first in macro F1 (a regression: CCC): its interval, three tests, an effect size, a verdict.

    `names` are the names of the two in the verdict, by default their models' names.
    """
    first, second = _with_shared_seeds(first, second, models)
    if task not in first.outputs or task not in second.outputs:
        return {"verdict": f"{task} is missing in one of the two"}
    first_counts, second_counts = first.group_confusions(task, models[0]), second.group_confusions(task, models[1])
    if not first_counts.any():
        return {"verdict": f"no utterance has a label for {task}"}
    measure = first.measure(task)
    main = MAIN_METRIC[measure.kind]

    def score(sums: np.ndarray) -> np.ndarray:
        return measure.summarise(sums)[main]

    difference, p_value = permutation(first_counts, second_counts, rounds, seed=1, score=score)
    num_seeds, _, num_groups = first_counts.shape[:3]
    draws = bootstrap.draw(num_groups, num_seeds, rounds, seed=1)
    low, high = bootstrap.interval(_gain(first_counts, second_counts, draws, measure.summarise, main))
    gains = (score(second_counts.sum(axis=2)) - score(first_counts.sum(axis=2)))[:, 0]
    names = names or (models if models[0] != models[1] else (f"their {models[0]}", f"our {models[1]}"))
    measures = {
        "difference": difference,
        "low": low,
        "high": high,
        "permutation_p": p_value,
        "mcnemar_p": mcnemar(*_correct(first, second, models, task))
        if measure.kind == "classification"
        else np.nan,
        "paired_t_p": paired_t(gains),
        "cohen_d": float(gains.mean() / gains.std(ddof=1)) if len(gains) > 1 and gains.std() > 0 else np.nan,
    }
    return measures | {
        "verdict": verdict(names, difference, p_value, int(first.labelled(task).sum()), num_groups, TITLES[main])
    }


def against(*words: str) -> None:
    """`python -m merc compare <other.parquet>`: print tests of our models against another run's."""
    parser = CommandLine(prog="python -m merc compare", description="Paired tests of this run against another one.")
    parser.add_argument("other", type=Path, help="the other run's predictions.parquet")
    parser.add_argument(
        "models", nargs="*", help="their model and ours; without them each model against its namesake"
    )
    arguments = parser.parse_args(words)
    if len(arguments.models) not in (0, 2):
        raise UserError("compare: name one file, or a file, their model and ours")
    other, ours = read_predictions(arguments.other), read_predictions()
    pairs = [tuple(arguments.models)] if arguments.models else [(model, model) for model in ours.models()]
    for their_model, our_model in pairs:
        for task in ours.classes:
            result = compare(other, ours, (their_model, our_model), task, ROUNDS)
            numbers = " ".join(f"{n} {result[n]:+.4f}" for n in ("difference", "low", "high") if n in result)
            print(f"{our_model}, {task}: ours - theirs: {numbers}\n    {result['verdict']}")


def verdict(
    models: tuple[str, str], difference: float, p_value: float, rows: int, groups: int, title: str = "macro F1"
) -> str:
    """The result as a sentence: which model is better, or that they are not distinguishable."""
    size = f"n={rows} utterances in {groups} groups"
    if p_value >= LEVEL:
        return f"{models[0]} and {models[1]} are not distinguishable at {size} (p={p_value:.3f})"
    better, worse = models[::-1] if difference > 0 else models
    return f"{better} beats {worse} by {abs(difference):.3f} {title} at {size} (p={p_value:.3f})"


def permutation(
    first: np.ndarray,
    second: np.ndarray,
    rounds: int,
    seed: int,
    score: Callable[[np.ndarray], np.ndarray] = macro_f1,
) -> tuple[float, float]:
    """Difference of mean macro F1 of (S, 1, G, C, C) counts, and the two-sided p of a permutation test.

    Under the null hypothesis the two models' predictions for a group are exchangeable: every round swaps each
    group's with probability 1/2.
    """
    swaps = np.random.default_rng(seed).integers(0, 2, (rounds, first.shape[2])).astype(float)
    observed = float((score(second.sum(axis=2)) - score(first.sum(axis=2))).mean())
    change = bootstrap.weighted_sums(second - first, swaps)[:, :, 0]
    swapped_first, swapped_second = first.sum(axis=2)[:, 0] + change, second.sum(axis=2)[:, 0] - change
    null = (score(swapped_second) - score(swapped_first)).mean(1)
    # with a tolerance, because equal sums in another order differ in the last bit
    return observed, float((1 + (np.abs(null) >= abs(observed) - 1e-12).sum()) / (1 + rounds))


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p of (N,) bool correctness; utterances are assumed to be independent (McNemar, 1947)."""
    better, worse = int((second & ~first).sum()), int((first & ~second).sum())
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def paired_t(gains: np.ndarray) -> float:
    """Two-sided p of a mean gain of 0 over the training seeds; NaN for one seed or equal gains."""
    if len(gains) < 2 or gains.std() == 0:
        return np.nan
    result: Any = stats.ttest_1samp(gains, 0)
    return float(result.pvalue)


def _with_shared_seeds(
    first: Predictions, second: Predictions, models: tuple[str, str]
) -> tuple[Predictions, Predictions]:
    """Restrict both to their common seeds; raise if they cannot be compared."""
    if _rows(first) != _rows(second):
        raise UserError(
            "compare: the files have different utterances or labels; evaluate both on the same test split"
        )
    if first.classes != second.classes:
        raise UserError(
            "compare: the files order the labels in different ways; evaluate both with the same data.labels"
        )
    seeds = [_seeds(predictions, model) for predictions, model in zip((first, second), models, strict=True)]
    shared = set.intersection(*seeds)
    if not shared:
        raise UserError(f"compare: {models[0]} and {models[1]} share no training seed: {seeds[0]} and {seeds[1]}")
    first, second = (each.take_conditions(FULL).take_seeds(shared) for each in (first, second))
    return first, second


def _rows(predictions: Predictions) -> list[tuple]:
    """Ids and labels, in order, with None for every kind of missing label."""
    rows = predictions.rows.drop(columns="group")
    return list(rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None))


def _seeds(predictions: Predictions, model: str) -> set[int]:
    if model not in predictions.models():
        names = ", ".join(predictions.models())
        raise UserError(f"compare: there is no model {model!r}; choose one of {names}; {USAGE}")
    return {key.seed for key in predictions.keys if key.model == model and key.condition == FULL}


def _gain(
    first: np.ndarray, second: np.ndarray, draws: bootstrap.Draws, summarise: bootstrap.Summarise, main: str
) -> np.ndarray:
    """(R,) the gain in every bootstrap round; both models are scored on the same drawn groups."""
    after, before = (bootstrap.replicate(sums, draws, summarise)[main] for sums in (second, first))
    return after - before


def _correct(first: Predictions, second: Predictions, models: tuple[str, str], task: str) -> list[np.ndarray]:
    """For each model, whether its mean probabilities over seeds are right, for each labelled utterance: bool."""
    actual = first.actual(task)
    predicted = [
        predictions.values(task, model, [FULL])[:, 0].mean(0).argmax(-1)
        for predictions, model in zip((first, second), models, strict=True)
    ]
    return [(labels == actual)[actual >= 0] for labels in predicted]

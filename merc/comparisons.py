"""Is one model better than another, or is that chance? Paired tests on the same utterances."""

import math
from pathlib import Path

import numpy as np
from scipy.special import stdtr  # scipy.stats would take a second to load

from merc import intervals, scores
from merc.conditions import FULL
from merc.predictions import Predictions, read
from merc.problem import Problem

LEVEL = 0.05
MEASURE = "macro_f1"
ROUNDS = 1000
USAGE = "python -m merc compare <another run's predictions.parquet> [<their model> <our model>]"


def compare(
    first: Predictions,
    second: Predictions,
    models: tuple[str, str],
    task: str,
    rounds: int,
    names: tuple[str, str] | None = None,
) -> dict:
    """second - first in macro F1: its interval, three tests, an effect size, and a verdict in words.

    `names` is what the verdict calls the two; without, they are called after their models.
    """
    first, second = _paired(first, second, models)
    if task not in first.answers or task not in second.answers:
        return {"verdict": f"{task} was not asked of both"}
    counts, other = first.counts(task, models[0]), second.counts(task, models[1])
    if not counts.any():
        return {"verdict": f"no utterance has a label for {task}"}
    difference, probability = permutation(counts, other, rounds, seed=1)
    drawn = intervals.draw(counts.shape[2], counts.shape[0], rounds, seed=1)
    low, high = intervals.interval(_gain(counts, other, drawn))
    gains = (_by_seed(other) - _by_seed(counts))[:, 0]
    names = names or (models if models[0] != models[1] else (f"their {models[0]}", f"our {models[1]}"))
    told = {
        "difference": difference,
        "low": low,
        "high": high,
        "permutation_p": probability,
        "mcnemar_p": mcnemar(*_correct(first, second, models, task)),
        "paired_t_p": paired_t(gains),
        "cohen_d": float(gains.mean() / gains.std(ddof=1)) if len(gains) > 1 and gains.std() > 0 else np.nan,
    }
    return told | {"verdict": verdict(names, difference, probability, int(counts[0].sum()), counts.shape[2])}


def against(*words: str) -> None:
    """`python -m merc compare <other.parquet>`: our models against another run's, or two of any name."""
    if len(words) not in (1, 3):
        raise Problem(f"compare: name one file, or a file, their model and ours: {USAGE}")
    other, ours = read(Path(words[0])), read()
    pairs = [(words[1], words[2])] if len(words) == 3 else [(model, model) for model in ours.models()]
    for theirs, own in pairs:
        for task in ours.orders:
            told = compare(other, ours, (theirs, own), task, ROUNDS)
            sign = " ".join(f"{name} {told[name]:+.4f}" for name in ("difference", "low", "high") if name in told)
            print(f"{own}, {task}: ours - theirs: {sign}\n    {told['verdict']}")


def verdict(models: tuple[str, str], difference: float, probability: float, rows: int, groups: int) -> str:
    """What may be said."""
    size = f"n={rows} utterances in {groups} groups"
    if probability >= LEVEL:
        return f"{models[0]} and {models[1]} are not distinguishable at {size} (p={probability:.3f})"
    better, worse = models[::-1] if difference > 0 else models
    return f"{better} beats {worse} by {abs(difference):.3f} macro F1 at {size} (p={probability:.3f})"


def permutation(first: np.ndarray, second: np.ndarray, rounds: int, seed: int) -> tuple[float, float]:
    """Difference of mean macro F1 of (S, 1, G, C, C) counts, and how often chance makes one as large.

    Under the null the two answers to a group could be exchanged: every round exchanges each group with chance 1/2.
    """
    swapped = np.random.default_rng(seed).integers(0, 2, (rounds, first.shape[2])).astype(float)
    observed = float((_by_seed(second) - _by_seed(first)).mean())
    change = _multiply(swapped, second - first)
    one, other = first.sum(axis=2)[:, 0] + change, second.sum(axis=2)[:, 0] - change
    null = (scores.summarise(other)[MEASURE] - scores.summarise(one)[MEASURE]).mean(1)
    # a tolerance: equal sums in another order differ in the last bit
    return observed, float((1 + (np.abs(null) >= abs(observed) - 1e-12).sum()) / (1 + rounds))


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p of (N,) right or wrong answers; utterances are taken as independent (McNemar, 1947)."""
    better, worse = int((second & ~first).sum()), int((first & ~second).sum())
    total, rarer = better + worse, min(better, worse)
    if not total:
        return 1.0
    tail = sum(math.comb(total, hits) for hits in range(rarer + 1))
    return min(1.0, 2 * tail / 2**total)


def paired_t(gains: np.ndarray) -> float:
    """Two-sided p that the mean gain over training seeds is 0; nan for one seed or equal gains."""
    if len(gains) < 2 or gains.std() == 0:
        return np.nan
    t = gains.mean() / (gains.std(ddof=1) / math.sqrt(len(gains)))
    return float(2 * stdtr(len(gains) - 1, -abs(t)))


def _paired(first: Predictions, second: Predictions, models: tuple[str, str]) -> tuple[Predictions, Predictions]:
    """Both with the answers of the seeds that both have; refuses what cannot be compared."""
    if _rows(first) != _rows(second):
        raise Problem(
            "compare: the files have different utterances or labels; evaluate both on the same test split"
        )
    if first.orders != second.orders:
        raise Problem(
            "compare: the files order the labels in different ways; evaluate both with the same data.labels"
        )
    seeds = [_seeds(found, model) for found, model in zip((first, second), models, strict=True)]
    shared = set.intersection(*seeds)
    if not shared:
        raise Problem(f"compare: {models[0]} and {models[1]} share no training seed: {seeds[0]} and {seeds[1]}")
    return first.of_seeds(shared), second.of_seeds(shared)


def _rows(found: Predictions) -> list[tuple]:
    """Ids and labels, in order; however a missing label is written."""
    rows = found.rows.drop(columns="group")
    return list(rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None))


def _seeds(found: Predictions, model: str) -> set[int]:
    if model not in found.models():
        raise Problem(f"compare: there is no model {model!r}; choose one of {', '.join(found.models())}; {USAGE}")
    return {key.seed for key in found.keys if key.model == model and key.condition == FULL}


def _by_seed(counts: np.ndarray) -> np.ndarray:
    return scores.summarise(counts.sum(axis=2))[MEASURE]


def _gain(first: np.ndarray, second: np.ndarray, draws: intervals.Draws) -> np.ndarray:
    """(R,) the gain in every round: both models are scored on the same drawn groups."""
    return intervals.replicate(second, draws)[MEASURE] - intervals.replicate(first, draws)[MEASURE]


def _multiply(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R, S, C, C) weighted sums over groups of (S, 1, G, C, C) counts."""
    seeds, _, groups, classes, _ = counts.shape
    flat = counts[:, 0].transpose(1, 0, 2, 3).reshape(groups, -1)
    return (weights @ flat).reshape(-1, seeds, classes, classes)


def _correct(first: Predictions, second: Predictions, models: tuple[str, str], task: str) -> list[np.ndarray]:
    """(N,) whether the mean over seeds of each model's probabilities is right, where there is a label."""
    actual = first.actual(task)
    answers = [
        one.of(task, model, [FULL])[:, 0].mean(0).argmax(-1)
        for one, model in zip((first, second), models, strict=True)
    ]
    return [(answer == actual)[actual >= 0] for answer in answers]

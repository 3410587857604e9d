"""Findings: what the report says in words, because a reader of many numbers would miss it.

A finding is told only if it is more than chance: a floor ahead, dev far above test, a modality that misleads.
"""

from collections.abc import Sequence

import numpy as np

from merc.data.records.selection import MAIN_METRIC, TITLES
from merc.evaluation import bootstrap, floor
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.training.core.task_scores import TaskScores

STUDENT = "student"


def find(
    test: Predictions, dev: Predictions, draws: bootstrap.Draws, trained: Sequence[str], *, seed: int = 1
) -> list[str]:
    """Sentences about the student; `dev` holds its predictions of dev, `trained` names its training corpora."""
    dev_draws = bootstrap.draw(dev.groups()[1], dev.num_seeds, len(draws.groups), seed)
    own = test.take_conditions(FULL).take(test.rows["corpus"].isin(trained).to_numpy(dtype=bool))
    own_draws = bootstrap.draw(own.groups()[1], own.num_seeds, len(draws.groups), seed)
    found: list[str] = []
    for task in test.outputs:
        found += _floor_ahead(test, task, draws)
        if task in dev.outputs:
            found += _dev_above_test(own, own_draws, dev, dev_draws, task)
        found += _misleading(test, task, draws)
    return found


def _floor_ahead(test: Predictions, task: str, draws: bootstrap.Draws) -> list[str]:
    if floor.NAME not in test.models():
        return []
    measure = test.measure(task)
    gain, low, high = _gain(
        test.group_confusions(task, STUDENT), test.group_confusions(task, floor.NAME), draws, measure
    )
    if not low > 0:
        return []
    return [
        f"{task}: the floor, a {floor.ABOUT[measure.kind]} on pooled features, is ahead of the student by "
        f"{gain:.3f} {_title(measure)} [{low:.3f}, {high:.3f}]: as it is set, the network is not worth its "
        "training on these data."
    ]


def _dev_above_test(
    test: Predictions, draws: bootstrap.Draws, dev: Predictions, dev_draws: bootstrap.Draws, task: str
) -> list[str]:
    """Dev above test by more than the sum of their intervals' half widths."""
    (dev_score, dev_half), (score, half) = (
        _with_half_width(each, task, of) for each, of in ((dev, dev_draws), (test, draws))
    )
    if not dev_score - score > dev_half + half:
        return []
    return [
        f"{task}: the student's {_title(test.measure(task))} is {dev_score:.3f} on dev and {score:.3f} on test, "
        "further apart than both 95 % intervals reach: dev is easier, or its features have seen its labels."
    ]


def _with_half_width(predictions: Predictions, task: str, draws: bootstrap.Draws) -> tuple[float, float]:
    counts, measure = predictions.group_confusions(task, STUDENT), predictions.measure(task)
    low, high = bootstrap.interval(bootstrap.replicate(counts, draws, measure.summarise)[MAIN_METRIC[measure.kind]])
    return _score(counts, measure), (high - low) / 2


def _misleading(test: Predictions, task: str, draws: bootstrap.Draws) -> list[str]:
    """The subset of the modalities that is furthest above the whole, if by more than its interval."""
    subsets = [name for name in test.conditions(STUDENT) if name.startswith("only:")]
    whole, measure = test.group_confusions(task, STUDENT), test.measure(task)
    gains = {name: _gain(whole, test.group_confusions(task, STUDENT, [name]), draws, measure) for name in subsets}
    ahead = {name: gain for name, gain in gains.items() if gain[1] > 0}
    if not ahead:
        return []
    name = max(ahead, key=lambda each: ahead[each][0])
    shown = name.removeprefix("only:").split("+")
    hidden = sorted({each for other in subsets for each in other.removeprefix("only:").split("+")} - set(shown))
    gain, low, high = ahead[name]
    verb = "mislead" if len(hidden) > 1 else "misleads"
    return [
        f"{task}: shown {' and '.join(shown)} alone, the student is {gain:.3f} {_title(measure)} better than shown "
        f"everything [{low:.3f}, {high:.3f}]: {' and '.join(hidden)} {verb} it."
    ]


def _gain(
    first: np.ndarray, second: np.ndarray, draws: bootstrap.Draws, measure: TaskScores
) -> tuple[float, float, float]:
    """second - first in the main score of (S, 1, G, ...) sums, with its interval; both on the same drawn groups."""
    main = MAIN_METRIC[measure.kind]
    after, before = (bootstrap.replicate(sums, draws, measure.summarise)[main] for sums in (second, first))
    return _score(second, measure) - _score(first, measure), *bootstrap.interval(after - before)


def _score(counts: np.ndarray, measure: TaskScores) -> float:
    by_seed = measure.summarise(counts.sum(axis=(1, 2)))[MAIN_METRIC[measure.kind]]
    return float(by_seed.mean())


def _title(measure: TaskScores) -> str:
    return TITLES[MAIN_METRIC[measure.kind]]

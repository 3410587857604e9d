"""Intervals that cover and tests that do not cry wolf, on simulated dialogues; slow ones run a thousand studies."""

import numpy as np
import pytest
import sklearn.metrics

from merc.evaluation import bootstrap, significance
from merc.training.core import scores

CLASSES = 4
PRIORS = np.array([0.5, 0.25, 0.15, 0.1])
GROUPS, TURNS = 200, 5


def study(generator, groups=GROUPS, skill=1.0, models=1):
    """Labels (N,), groups (N,), and each model's answers (models, N): dialogues differ in how hard they are."""
    group = np.repeat(np.arange(groups), TURNS)
    actual = generator.choice(CLASSES, len(group), p=PRIORS)
    hard = generator.normal(size=groups)[group]  # shared by the models: they fail on the same dialogues
    chance = 1 / (1 + np.exp(-skill + hard))
    knows = generator.random((models, len(group))) < chance
    guess = generator.choice(CLASSES, (models, len(group)), p=PRIORS)
    return actual, group, np.where(knows, actual, guess)


def counts(generator, groups=GROUPS, **options):
    """(models, 1, G, C, C)."""
    actual, group, answers = study(generator, groups, **options)
    return scores.grouped_confusion(actual, answers[:, None], group, groups, CLASSES)


def test_replicates_equal_rows_drawn_again():
    generator = np.random.default_rng(0)
    actual, group, answers = study(generator, groups=6, models=2)
    table = scores.grouped_confusion(actual, answers[:, None], group, 6, CLASSES)
    draws = bootstrap.draw(6, 2, 5, seed=3)
    ours = bootstrap.replicate(table, draws)["macro_f1"]
    for round_ in range(5):
        rows = np.repeat(np.arange(len(actual)), draws.groups[round_].astype(int)[group])
        by_seed = [sklearn.metrics.f1_score(actual[rows], one[rows], average="macro") for one in answers]
        assert ours[round_] == pytest.approx(np.dot(by_seed, draws.seeds[round_]))


def test_one_group_or_none_has_an_interval_without_width():
    table = counts(np.random.default_rng(1), groups=1)
    low, high = bootstrap.interval(bootstrap.replicate(table, bootstrap.draw(1, 1, 20, 1))["accuracy"])
    assert low == high
    empty = bootstrap.replicate(table[:, :, :0], bootstrap.draw(0, 1, 20, 1))["accuracy"]
    assert np.isnan(bootstrap.interval(empty)).all()


def test_a_better_model_is_recognised():
    generator = np.random.default_rng(2)
    actual, group, answers = study(generator)
    better = np.where(generator.random(len(actual)) < 0.5, actual, answers[0])
    table = scores.grouped_confusion(actual, np.stack([*answers, better])[:, None], group, GROUPS, CLASSES)
    first, best = table[:, None]
    difference, probability = significance.permutation(first, best, 500, 1)
    assert difference > 0
    assert probability == pytest.approx(1 / 501)


def test_mcnemar_equals_scipy_and_a_model_equals_itself():
    from scipy import stats

    generator = np.random.default_rng(3)
    one, other = generator.random(80) < 0.6, generator.random(80) < 0.7
    wins, losses = (other & ~one).sum(), (one & ~other).sum()
    assert significance.mcnemar(one, other) == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)
    assert significance.mcnemar(one, one) == 1
    table = counts(generator)
    assert significance.permutation(table, table, 50, 1) == (0, 1)


def test_the_paired_t_test_equals_scipy():
    from scipy import stats

    gains = np.array([0.02, 0.01, -0.005, 0.03, 0.015])
    assert significance.paired_t(gains) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert np.isnan(significance.paired_t(gains[:1]))


@pytest.mark.slow
def test_the_interval_covers():
    """1,000 studies of 200 dialogues; the truth is what a very large study says."""
    generator = np.random.default_rng(4)
    truth = scores.summarise(counts(generator, groups=200_000).sum(axis=(0, 1, 2)))
    covered = {"accuracy": 0, "macro_f1": 0}
    for number in range(1000):
        replicates = bootstrap.replicate(counts(generator), bootstrap.draw(GROUPS, 1, 1000, number))
        for name in covered:
            low, high = bootstrap.interval(replicates[name])
            covered[name] += low <= truth[name] <= high
    assert 930 <= covered["accuracy"] <= 970
    assert covered["macro_f1"] >= 900


@pytest.mark.slow
def test_the_permutation_test_errs_as_often_as_it_says():
    """Two equally good models, 1,000 studies: 5 % are called different."""
    generator = np.random.default_rng(5)
    wrong = 0
    for number in range(1000):
        first, second = counts(generator, models=2)[:, None]
        wrong += significance.permutation(first, second, 1000, number)[1] < significance.LEVEL
    assert 30 <= wrong <= 70

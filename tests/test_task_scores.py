"""Every score of numbers and label sets is scikit-learn's or scipy's, also of groups drawn several times."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from merc.data.records.labels import Task
from merc.training.core import task_scores
from merc.training.core.calibration import apply, fit_task, intervals

SENTIMENT = Task("sentiment", "regression", (), -3.0, 3.0)
EMOTIONS = Task("emotions", "multilabel", ("happy", "sad", "angry", "never"))
GROUPS = 6


def drawn(measure, actual, predicted, times):
    """The scores of the rows, each group as often as `times` says, from its sums; and the rows so repeated."""
    group = np.arange(len(actual)) % GROUPS
    total = np.tensordot(times, measure.sums(actual, predicted, group, GROUPS), (0, 0))
    scored = {name: float(value) for name, value in measure.summarise(total).items()}
    return scored, np.repeat(np.arange(len(actual)), times[group])


@pytest.mark.parametrize("times", [np.ones(GROUPS, int), np.array([0, 3, 1, 2, 0, 1])])
def test_scores_of_numbers(times):
    random = np.random.default_rng(0)
    actual = np.round(random.uniform(-3, 3, 90) * 3) / 3
    actual[:8], actual[8:12] = np.nan, 0.0
    predicted = (np.nan_to_num(actual) + random.normal(size=90)).clip(-3, 3)
    found, rows = drawn(task_scores.task_scores(SENTIMENT), actual, predicted, times)
    rows = rows[np.isfinite(actual[rows])]
    y, p = actual[rows], predicted[rows]
    covariance = np.mean((y - y.mean()) * (p - p.mean()))
    kept = y != 0
    expected = {
        "mae": metrics.mean_absolute_error(y, p),
        "pearson": stats.pearsonr(y, p)[0],
        "ccc": 2 * covariance / (y.var() + p.var() + (y.mean() - p.mean()) ** 2),
        "acc2": metrics.accuracy_score(y >= 0, p >= 0),
        "acc2_f1": metrics.f1_score(y >= 0, p >= 0, average="weighted"),
        "acc2_nonzero": metrics.accuracy_score(y[kept] > 0, p[kept] > 0),
        "acc2_nonzero_f1": metrics.f1_score(y[kept] > 0, p[kept] > 0, average="weighted"),
        "acc5": np.mean(np.round(y.clip(-2, 2)) == np.round(p.clip(-2, 2))),
        "acc7": np.mean(np.round(y) == np.round(p)),
    }
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("times", [np.ones(GROUPS, int), np.array([0, 3, 1, 2, 0, 1])])
@pytest.mark.filterwarnings("ignore:.*ill-defined")
def test_scores_of_label_sets(times):
    random = np.random.default_rng(1)
    actual = (random.random((90, 4)) < [0.5, 0.3, 0.2, 0.0]).astype(float)
    predicted = (actual > 0) ^ (random.random((90, 4)) < 0.2)
    actual[:5] = np.nan
    found, rows = drawn(task_scores.task_scores(EMOTIONS), actual, predicted, times)
    rows = rows[np.isfinite(actual[rows]).all(1)]
    y, p = actual[rows] > 0, predicted[rows]
    occur = np.flatnonzero(y.any(0))
    expected = {
        "accuracy": np.mean(y == p),
        "subset_accuracy": metrics.accuracy_score(y, p),
        "weighted_f1": metrics.f1_score(y, p, average="weighted", zero_division=0),
        "macro_f1": metrics.f1_score(y[:, occur], p[:, occur], average="macro", zero_division=0),
    }
    assert found == pytest.approx(expected)


def test_what_the_range_does_not_allow_is_not_scored():
    scored = task_scores.headline(
        Task("valence", "regression", (), 1.0, 5.0), np.array([2.0, 4.0]), np.array([[9.0], [4.0]])
    )
    assert scored["mae"] == pytest.approx(1.5)  # 9 is answered as 5
    assert all(np.isnan(scored[name]) for name in ("acc2", "acc2_f1", "acc2_nonzero", "acc5", "acc7"))
    empty = task_scores.headline(SENTIMENT, np.array([np.nan]), np.array([[0.0]]))
    assert all(np.isnan(value) for value in empty.values())


def test_a_conformal_interval_holds_nine_of_ten():
    random = np.random.default_rng(2)
    values = random.uniform(-2, 2, (4000, 1))
    truth = (values[:, 0] + random.normal(scale=0.4, size=4000)).clip(-3, 3)
    calibrated = fit_task(SENTIMENT, values[:2000], truth[:2000])
    low, high = intervals(values[2000:, 0], calibrated, SENTIMENT).T
    assert np.mean((low <= truth[2000:]) & (truth[2000:] <= high)) == pytest.approx(0.9, abs=0.02)
    few = fit_task(SENTIMENT, values[:5], truth[:5])
    assert few == {"half_width": 6.0}  # too few to promise anything


def test_each_class_of_a_label_set_has_a_temperature():
    random = np.random.default_rng(3)
    logits = random.normal(size=(4000, 4))
    chance = 1 / (1 + np.exp(-logits * [0.5, 1.0, 2.0, 1.0]))
    truth = (random.random((4000, 4)) < chance).astype(float)
    truth[:, 3] = 0.0
    calibrated = fit_task(EMOTIONS, logits, truth)
    assert calibrated["temperatures"] == pytest.approx([2.0, 1.0, 0.5, 1.0], rel=0.15)
    assert apply(logits, calibrated)[:, :3] == pytest.approx(chance[:, :3], abs=0.05)

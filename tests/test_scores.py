"""Scores against scikit-learn, an independent reference."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from merc.training.core import scores


@st.composite
def answers(draw):
    """Labels, some of them missing, and predictions, over 2 to 7 classes of which some may not occur."""
    classes = draw(st.integers(2, 7))
    size = draw(st.integers(1, 40))
    actual = draw(st.lists(st.sampled_from([-100, *range(classes)]), min_size=size, max_size=size))
    predicted = draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
    return np.array(actual), np.array(predicted), classes


def reference(actual, predicted):
    options = {"average": "weighted", "zero_division": 0}
    return {
        "accuracy": sklearn.metrics.accuracy_score(actual, predicted),
        "weighted_f1": sklearn.metrics.f1_score(actual, predicted, **options),
        "macro_f1": sklearn.metrics.f1_score(
            actual, predicted, labels=np.unique(actual), average="macro", zero_division=0
        ),
        "uar": sklearn.metrics.recall_score(
            actual, predicted, labels=np.unique(actual), average="macro", zero_division=0
        ),
        "weighted_precision": sklearn.metrics.precision_score(actual, predicted, **options),
    }


@given(answers())
def test_scores_equal_scikit_learn(drawn):
    actual, predicted, classes = drawn
    labelled = actual >= 0
    ours = scores.summarise(scores.confusion(actual, predicted, classes))
    if not labelled.any():
        assert all(np.isnan(value) for value in ours.values())
    else:
        expected = reference(actual[labelled], predicted[labelled])
        assert {name: float(value) for name, value in ours.items()} == pytest.approx(expected)


@given(answers())
def test_headline_is_the_contract(drawn):
    assert list(scores.scores(*drawn)) == ["accuracy", "weighted_f1", "macro_f1", "uar"]


@given(answers(), st.integers(1, 5), st.integers(0, 2**16))
def test_weighted_groups_equal_repeated_rows(drawn, groups, seed):
    """A group drawn w times counts as if its rows stood w times in the data."""
    actual, predicted, classes = drawn
    generator = np.random.default_rng(seed)
    group = generator.integers(0, groups, len(actual))
    weights = generator.integers(0, 3, groups)
    counts = scores.grouped_confusion(actual, predicted, group, groups, classes)
    repeated = np.repeat(np.arange(len(actual)), weights[group])
    expected = scores.confusion(actual[repeated], predicted[repeated], classes)
    assert np.array_equal(np.tensordot(weights, counts, 1), expected)


def test_leading_axes_are_scored_apart():
    generator = np.random.default_rng(1)
    actual = generator.integers(0, 3, 50)
    predicted = generator.integers(0, 3, (4, 50))
    together = scores.summarise(scores.confusion(actual, predicted, 3))["macro_f1"]
    apart = [scores.scores(actual, one, 3)["macro_f1"] for one in predicted]
    assert together.tolist() == pytest.approx(apart)

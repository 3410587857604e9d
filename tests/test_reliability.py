"""Calibration measures on answers whose honesty is known."""

import numpy as np
import pytest
import sklearn.metrics

from merc.evaluation import reliability
from merc.training.core import calibration


def honest(size=4000, classes=4, seed=0):
    """Logits (N, C), and labels (N,) drawn from the very probabilities that the logits state."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=1.5, size=(size, classes))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, (shares.cumsum(1) < generator.random((size, 1))).sum(1)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_brier_and_log_loss_equal_scikit_learn():
    logits, actual = honest(300)
    probability = softmax(logits)
    measures = reliability.calibration_scores(probability[None], actual)
    truth = np.eye(4)[actual]
    assert measures["nll"] == pytest.approx(sklearn.metrics.log_loss(actual, probability))
    assert measures["brier"] == pytest.approx(
        sum(sklearn.metrics.brier_score_loss(truth[:, c], probability[:, c]) for c in range(4))
    )


def test_temperature_scaling_recovers_a_factor_and_ece_falls():
    """Half fits, as dev does; the other half is scored, as test is."""
    logits, actual = honest(16000)
    loud = 3 * logits
    fitted = calibration.fit(loud[:8000], actual[:8000])
    assert fitted["temperature"] == pytest.approx(3, rel=0.05)
    before = reliability.calibration_scores(softmax(loud[8000:])[None], actual[8000:])
    after = reliability.calibration_scores(calibration.apply(loud[8000:], fitted)[None], actual[8000:])
    for name in ("ece", "classwise_ece", "brier", "nll"):
        assert after[name] < before[name]
    assert after["ece"] < 0.03 < 0.1 < before["ece"]


def test_conformal_sets_cover_nine_in_ten():
    logits, actual = honest(8000)
    fitted = calibration.fit(logits[:4000], actual[:4000])
    members = calibration.label_sets(calibration.apply(logits[4000:], fitted), fitted)
    measures = reliability.conformal(members[None], actual[4000:], ("a", "b", "c", "d"))
    assert measures["coverage"] == pytest.approx(0.9, abs=0.02)
    shares = np.bincount(actual[4000:]) / 4000
    assert np.dot(shares, list(measures["coverage_by_class"].values())) == pytest.approx(measures["coverage"])


def test_ece_of_a_liar_and_of_few_answers():
    right = np.array([[True, False] * 50])
    assert reliability.ece(np.full((1, 100), 0.9), right)[0] == pytest.approx(0.4)
    assert reliability.ece(np.full((1, 1), 0.7), np.array([[True]]))[0] == pytest.approx(0.3)


def test_bins_have_equal_mass():
    *_, sizes = reliability.bins(np.random.default_rng(1).random((1, 95)), np.ones((1, 95), bool))
    assert sizes.sum() == 95
    assert sizes.max() - sizes.min() <= 1


def test_risk_follows_confidence():
    confidence = np.array([[0.9, 0.2, 0.6, 0.4]])
    correct = np.array([[True, False, True, False]])
    assert reliability.risk(confidence, correct)[0] == pytest.approx([0, 0, 1 / 3, 1 / 2])

"""Temperatures are recovered; label sets cover as often as promised."""

import numpy as np
import pytest

from merc.training.core import calibration


def simulate(rows, seed, scale=1.0):
    """Labels drawn from softmax(logits): these logits are calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, 7)) * 2
    probabilities = calibration.apply(logits, {"temperature": 1.0, "threshold": 0.0})
    labels = (probabilities.cumsum(1) < random.random((rows, 1))).sum(1)
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(scale):
    fitted = calibration.fit(*simulate(20_000, 1, scale))
    assert fitted["temperature"] == pytest.approx(scale, rel=0.05)


def test_sets_cover():
    covered = []
    for seed in range(40):
        fitted = calibration.fit(*simulate(200, seed, 2.0))
        logits, labels = simulate(2_000, 1000 + seed, 2.0)
        inside = calibration.label_sets(calibration.apply(logits, fitted), fitted)
        covered.append(inside[np.arange(len(labels)), labels].mean())
        assert inside.any(1).all()
    assert 0.89 <= np.mean(covered) <= 0.93


def test_rows_without_a_label_are_left_out():
    logits, labels = simulate(300, 3)
    with_holes = np.concatenate([logits, 100 * np.eye(7)]), np.concatenate([labels, np.full(7, -100)])
    assert calibration.fit(*with_holes) == calibration.fit(logits, labels)
    assert calibration.fit(logits, np.full(300, -100)) == {"temperature": 1.0, "threshold": 0.0}


def test_a_small_dev_split_gives_every_label():
    fitted = calibration.fit(*simulate(5, 1))
    assert fitted["threshold"] == 0.0

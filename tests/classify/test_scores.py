"""Curves, areas, confusion, intervals and calibration, against scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn import metrics

from lenssr.classify import (
    auc,
    bootstrap,
    calibration_error,
    confusion,
    find_temperature,
    one_vs_rest,
    probabilities,
    roc,
)


@pytest.fixture
def said():
    """Labels of three classes, and scores with ties that go with the first."""
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=400)
    score = np.round(rng.normal(size=400) + (labels == 0), 1)
    return labels, score


def test_curve_and_area(said):
    labels, score = said
    positive = one_vs_rest(labels, 0)
    assert auc(score, positive) == pytest.approx(metrics.roc_auc_score(positive, score), abs=1e-12)
    found = roc(score, positive)
    for ours, theirs in zip(found, metrics.roc_curve(positive, score, drop_intermediate=False)):
        np.testing.assert_allclose(ours, theirs)
    assert np.isnan(auc(score, np.zeros(400, bool)))


def test_confusion(said):
    labels = said[0]
    other = np.roll(labels, 1)
    np.testing.assert_array_equal(confusion(labels, other, 3),
                                  metrics.confusion_matrix(labels, other))


def test_interval_of_an_accuracy_is_binomial():
    labels = np.repeat([0, 1], 500)
    said = np.where(np.arange(1000) % 5 == 0, 1 - labels, labels)
    low, high = bootstrap(lambda a, b: np.mean(a == b), labels, said)
    error = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((0.8 - error, 0.8 + error), abs=0.004)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_is_found_again(temperature):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (20000, 3))
    chances = probabilities(logits)
    labels = (rng.random((20000, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=2)
    # Of a network that is too sure, or not sure enough.
    found = find_temperature(temperature * logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(chances, labels) < 0.02
    assert calibration_error(probabilities(temperature * logits, found), labels) < 0.02
    if temperature != 1:
        assert calibration_error(probabilities(temperature * logits), labels) > 0.05


def test_calibration_error_by_hand():
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.4, 0.6]])
    # Of the first two one is right, of the others both: |0.9 - 0.5| and |0.625 - 1|.
    assert calibration_error(chances, np.array([0, 1, 1, 1])) == pytest.approx(
        (0.4 * 2 + 0.375 * 2) / 4)

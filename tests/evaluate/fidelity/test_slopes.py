"""Slopes of regressions, their errors and the curve of the correction."""

import numpy as np
import pytest
from scipy import stats

from lenssr.evaluate import fit_curve, regression_slope


def test_slope_is_that_of_scipy():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.2, (60, 1))
    found = 0.7 * truth + 0.1 + rng.normal(0, 0.05, truth.shape)
    expected = stats.linregress(truth[:, 0], found[:, 0])
    value, error = regression_slope(truth, found, rng)
    assert value == pytest.approx(expected.slope)
    assert error == pytest.approx(expected.stderr, rel=0.3)


def test_components_have_offsets_of_their_own():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 0.2, (40, 2))
    value, error = regression_slope(truth, 0.5 * truth + [0.3, -0.2], rng)
    assert value == pytest.approx(0.5) and error < 1e-12
    assert np.isnan(regression_slope(truth[:7], truth[:7], rng)).all()


def test_the_error_is_the_scatter_of_samples():
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(80):
        truth = rng.normal(0, 0.2, (50, 2))
        found = 0.8 * truth + rng.normal(0, 0.1, truth.shape)
        for many, one in zip((values, errors), regression_slope(truth, found, rng)):
            many.append(one)
    assert np.mean(values) == pytest.approx(0.8, abs=0.02)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


def shrunk(rng, n, a=1.05, b=400.0):
    """Ellipticities that are shrunk at low signal to noise."""
    truth = rng.normal(0, 0.2, (n, 2))
    snr = np.exp(rng.uniform(np.log(12), np.log(600), n))
    found = truth / (a + b / snr**2)[:, None] + rng.normal(0, 1, truth.shape) * (
        0.01 + 0.5 / snr)[:, None]
    return truth, found, snr


def test_curve_is_recovered_and_corrects():
    rng = np.random.default_rng(3)
    curve = fit_curve(*shrunk(rng, 800), rng)
    assert curve.a == pytest.approx(1.05, abs=4 * curve.a_error)
    assert curve.b == pytest.approx(400, abs=4 * curve.b_error)
    assert curve.a_error < 0.01 and curve.b_error < 60
    truth, found, snr = shrunk(rng, 800)
    low = snr < 30
    assert regression_slope(truth[low], found[low], rng)[0] < 0.6
    corrected = curve.correct(found, snr)
    value, error = regression_slope(truth[low], corrected[low], rng)
    assert value == pytest.approx(1, abs=4 * error)
    # One S/N for all, and a single component.
    assert curve.correct(found[:, 0], 50.0) == pytest.approx(
        found[:, 0] * (curve.a + curve.b / 2500))


def test_no_curve_of_few_objects():
    rng = np.random.default_rng(4)
    assert np.isnan(fit_curve(*shrunk(rng, 30), rng).a)

"""Factors and correlations from errors that are known."""

import numpy as np
import pytest
from scipy import ndimage, stats

from lenssr.image._lags import LAGS, unfold
from lenssr.methods._calibrated import KNOTS, conformal_factor
from lenssr.train._conformal import WITHIN, conformal_factors, coverage, rest_correlation


def test_shares_are_those_of_the_normal_distribution():
    np.testing.assert_allclose(WITHIN, stats.norm.cdf([1, 2]) - stats.norm.cdf([-1, -2]), atol=1e-6)


def pixels(n=400000, seed=0):
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.uniform(np.log(0.1), np.log(300), n))
    std = np.exp(rng.normal(0, 0.5, n))
    return rng, snr, std


@pytest.mark.parametrize("wrong", [0.3, 1.0, 4.0])
def test_wrong_scale_is_found(wrong):
    rng, snr, std = pixels()
    error = std * rng.normal(size=len(std))
    found = conformal_factors(error, wrong * std, snr)
    np.testing.assert_allclose(found, 1 / wrong, rtol=0.02)


def test_scale_that_is_wrong_by_signal_to_noise_is_found():
    rng, snr, std = pixels()
    true = [0.5, 1.0, 2.0, 1.5, 1.0]
    error = std * conformal_factor(snr, true) * rng.normal(size=len(std))
    factors = conformal_factors(error, std, snr)
    np.testing.assert_allclose(factors, true, rtol=0.05)
    shares = coverage(error, std * conformal_factor(snr, factors), snr)
    for name in ("below 1", "1-3", "3-10", "10-30", "above 30", "all"):
        np.testing.assert_allclose(shares[name], WITHIN, atol=0.006)


def test_errors_that_are_not_normal_are_shared_out_between_both():
    """One factor can't do both: neither is off by what it is if the other is met."""
    rng, snr, std = pixels()
    error = std * stats.t(3).rvs(len(std), random_state=rng)
    factors = conformal_factors(error, std, snr)
    off = np.abs(error / std)
    alone = np.quantile(off, WITHIN) / (1, 2)
    assert (min(alone) < np.array(factors)).all() and (np.array(factors) < max(alone)).all()
    both = coverage(error, std * conformal_factor(snr, factors), snr)["all"] - WITHIN
    only = [np.array([np.mean(off <= k * f) for k in (1, 2)]) - WITHIN for f in alone]
    assert np.abs(both).max() < 0.7 * min(np.abs(one).max() for one in only)


def test_bin_without_pixels_has_the_factor_of_the_nearest():
    rng, snr, std = pixels()
    few = snr < 3
    error = 2 * std * rng.normal(size=len(std))
    found = conformal_factors(error[few], std[few], snr[few])
    assert found[2:] == [found[1]] * 3
    assert len(found) == len(KNOTS)


def gaussian(width):
    """Correlation by lag of white noise smoothed by a Gaussian."""
    y, x = np.mgrid[-LAGS:LAGS + 1, -LAGS:LAGS + 1]
    return np.exp(-(x**2 + y**2) / (4 * width**2))


def test_correlations_of_faint_and_bright_errors_are_found():
    """Errors of three parts that are independent: measurement, and a faint and a bright rest."""
    rng, n, side = np.random.default_rng(0), 60, 96
    measurement, level = 0.2, 0.8

    def noise(width):
        white = ndimage.gaussian_filter(rng.normal(size=(n, side, side)), (0, width, width),
                                        mode="wrap")
        return white / white.std()

    rest = np.full((n, side, side), level)
    rest[:, 30:66, 30:66] = 6.0
    bright = np.sqrt(np.maximum(rest**2 - level**2, 0))
    error = measurement * noise(0.7) + np.minimum(rest, level) * noise(1.0) + bright * noise(2.5)
    arrays = {"mean": error, "truth": np.zeros_like(error), "probe": measurement * noise(0.7),
              "std": np.full_like(error, measurement), "weight": np.ones((n, side // 2, side // 2))}
    snr = np.where(rest > level, 20.0, 0.0)
    found = rest_correlation(arrays, np.hypot(measurement, rest), snr, 2)
    assert found["variance"] == pytest.approx([1, 1], abs=0.05)
    for name, width in (("faint", 1.0), ("bright", 2.5)):
        np.testing.assert_allclose(unfold(found[name]), gaussian(width), atol=0.07)
        assert np.asarray(found[name])[0, 0] == 1
    # What can't be told from chance is none.
    assert np.count_nonzero(found["faint"]) < 0.5 * (LAGS + 1)**2

"""Factors and correlations from errors that are known."""

import numpy as np
import pytest
from scipy import ndimage, stats

from lenssr.train import conformal_factors, coverage, rest_correlation
from lenssr.uncertainty import (
    CROWDING_KNOTS,
    MAX_LAG,
    NORMAL_COVERAGE,
    SNR_KNOTS,
    conformal_factor,
    from_quadrant,
)


def test_shares_are_those_of_the_normal_distribution():
    np.testing.assert_allclose(NORMAL_COVERAGE, stats.norm.cdf([1, 2]) - stats.norm.cdf([-1, -2]),
                               atol=1e-6)


def pixels(n=400000, seed=0):
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.uniform(np.log(0.1), np.log(300), n))
    crowd = np.exp(rng.uniform(np.log(1e-3), 0, n))
    std = np.exp(rng.normal(0, 0.5, n))
    return rng, snr, crowd, std


@pytest.mark.parametrize("wrong", [0.3, 1.0, 4.0])
def test_wrong_scale_is_found(wrong):
    rng, snr, crowd, std = pixels()
    error = std * rng.normal(size=len(std))
    found = conformal_factors(error, wrong * std, snr, crowd)
    np.testing.assert_allclose(found, 1 / wrong, rtol=0.05)
    assert np.mean(found) == pytest.approx(1 / wrong, rel=0.01)


def test_scale_that_is_wrong_by_signal_to_noise_and_crowding_is_found():
    rng, snr, crowd, std = pixels(1200000)
    true = np.outer([0.5, 1.0, 2.0, 1.5, 1.0], [2.0, 1.4, 1.0, 0.8, 0.7])
    error = std * conformal_factor(snr, crowd, true) * rng.normal(size=len(std))
    factors = conformal_factors(error, std, snr, crowd)
    np.testing.assert_allclose(factors, true, rtol=0.07)
    sigma = std * conformal_factor(snr, crowd, factors)
    shares = coverage(error, sigma, snr)
    for name in ("below 1", "1-3", "3-10", "10-30", "above 30", "all"):
        np.testing.assert_allclose(shares[name], NORMAL_COVERAGE, atol=0.006)
    for where in (crowd < 0.003, crowd > 0.4):
        shares = coverage(error[where], sigma[where], snr[where])
        np.testing.assert_allclose(shares["all"], NORMAL_COVERAGE, atol=0.006)


def test_errors_that_are_not_normal_are_shared_out_between_both():
    """One factor can't do both: neither is off by what it is if the other is met."""
    rng, snr, crowd, std = pixels()
    error = std * stats.t(3).rvs(len(std), random_state=rng)
    factors = conformal_factors(error, std, snr, crowd)
    off = np.abs(error / std)
    alone = np.quantile(off, NORMAL_COVERAGE) / (1, 2)
    assert (min(alone) < np.array(factors)).all() and (np.array(factors) < max(alone)).all()
    both = coverage(error, std * conformal_factor(snr, crowd, factors),
                    snr)["all"] - NORMAL_COVERAGE
    only = [np.array([np.mean(off <= k * f) for k in (1, 2)]) - NORMAL_COVERAGE for f in alone]
    assert np.abs(both).max() < 0.7 * min(np.abs(one).max() for one in only)


def test_cell_without_pixels_has_the_factor_of_the_nearest():
    """Of the same signal to noise, if there is one."""
    rng, snr, crowd, std = pixels()
    few = (snr < 3) & (crowd < 0.1)
    error = 2 * std * rng.normal(size=len(std))
    found = np.array(conformal_factors(*(each[few] for each in (error, std, snr, crowd))))
    assert found.shape == (len(SNR_KNOTS), len(CROWDING_KNOTS))
    np.testing.assert_array_equal(found[2:], np.tile(found[1], (3, 1)))
    np.testing.assert_array_equal(found[:, 3:], np.tile(found[:, 2:3], 2))


def test_of_too_few_pixels_there_is_one_factor():
    rng, snr, crowd, std = (each if k == 0 else each[:300] for k, each in enumerate(pixels()))
    found = conformal_factors(std * rng.normal(size=len(std)), std, snr, crowd)
    assert len({value for row in found for value in row}) == 1


def gaussian(width):
    """Correlation by lag of white noise smoothed by a Gaussian."""
    y, x = np.mgrid[-MAX_LAG:MAX_LAG + 1, -MAX_LAG:MAX_LAG + 1]
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
    for name, width in (("faint", 1.0), ("bright", 2.5)):
        np.testing.assert_allclose(from_quadrant(found[name]), gaussian(width), atol=0.07)
        assert np.asarray(found[name])[0, 0] == 1
    # What can't be told from chance is none.
    assert np.count_nonzero(found["faint"]) < 0.5 * (MAX_LAG + 1)**2

"""Coverage of normal errors, and the error of it."""

import numpy as np
import pytest
from scipy import stats

from lenssr.evaluate import count_within, coverage_fractions
from lenssr.uncertainty import NORMAL_COVERAGE


def test_expected_is_the_normal_distribution():
    assert NORMAL_COVERAGE == pytest.approx(stats.norm.cdf([1, 2]) - stats.norm.cdf([-1, -2]),
                                            abs=1e-4)


@pytest.mark.parametrize("truth", [0.5, 1.0, 1.6])
def test_shares_of_errors_that_are_too_small_or_large(truth):
    rng = np.random.default_rng(0)
    sigma = rng.uniform(1, 3, (50, 400))
    counts = [count_within(rng.normal(0, truth * s), s) for s in sigma]
    found, errors = coverage_fractions(counts, rng)
    assert found == pytest.approx(2 * stats.norm.cdf(np.array([1, 2]) / truth) - 1,
                                  abs=5 * errors.max())
    # Of 20,000 independent pixels.
    binomial = np.sqrt(found * (1 - found) / sigma.size)
    assert errors == pytest.approx(binomial, rel=0.3)


def test_the_error_knows_that_pixels_of_an_image_go_together():
    rng = np.random.default_rng(1)
    counts = [count_within(rng.normal() * np.ones(400), np.ones(400)) for _ in range(60)]
    found, errors = coverage_fractions(counts, rng)
    assert errors[0] == pytest.approx(np.sqrt(found[0] * (1 - found[0]) / 60), rel=0.25)


def test_limits_count_as_within():
    assert count_within(np.array([0.0, 1.0, -2.0, 2.1]), np.ones(4)).tolist() == [2, 3, 4]
    assert np.isnan(coverage_fractions([[0, 0, 0]], np.random.default_rng(0))[0]).all()
    assert np.isnan(coverage_fractions([[5, 9, 10]], np.random.default_rng(0))[1]).all()

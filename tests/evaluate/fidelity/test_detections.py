"""False sources in noise, whose number is known."""

import numpy as np
import pytest
from scipy import stats

from lenssr.evaluate import count_sources, rate_limits


def test_white_noise_has_what_its_tail_says():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(1, 4, (1500, 1500))
    expected = stats.norm.sf(4) * sigma.size
    assert count_sources(rng.normal(0, sigma), sigma, 4.0) == pytest.approx(
        expected, abs=4 * np.sqrt(expected))


def test_sources_are_counted_once_each():
    image = np.zeros((60, 60))
    image[10:14, 10:14], image[40, 40], image[50, 20] = 9.0, 6.0, 4.9
    assert count_sources(image, 1.0) == 2
    assert count_sources(-image, 1.0) == 0
    assert count_sources(image, 0.5) == 3


def test_limit_is_that_of_poisson():
    assert rate_limits(0, 1_000_000) == pytest.approx((0, -np.log(0.05)))
    rate, limit = rate_limits(7, 2_000_000)
    assert rate == 3.5
    # At the limit, as few as were seen are had in one case of twenty.
    assert stats.poisson.cdf(7, 2 * limit) == pytest.approx(0.05)

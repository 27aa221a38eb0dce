"""Fraction of source pixels around a pixel, and its bins."""

import numpy as np
import pytest
from scipy.stats import norm

from lenssr.uncertainty import CROWDING_BINS, crowding, crowding_bin


@pytest.mark.parametrize("scale", [2, 3])
def test_crowding_of_half_a_plane_is_that_of_the_normal_distribution(scale):
    side = 80 * scale
    snr = np.zeros((side, side))
    snr[:, side // 2:] = 5.0
    fraction = crowding(snr, np.ones_like(snr, bool), scale)
    x = np.arange(side) - (side / 2 - 0.5)
    # Away from the edges, which count nothing.
    inside = slice(2 * 8 * scale, -2 * 8 * scale)
    np.testing.assert_allclose(fraction[side // 2, inside],
                               norm.cdf(x / (8 * scale))[inside], atol=0.03)
    assert (fraction[:, 0] < 0.002).all() and (fraction[:, -1] > 0.998).all()


def test_pixels_that_do_not_count():
    """Masked sources do not count; valid pixels represent their masked neighbours."""
    snr = np.zeros((64, 64))
    snr[20:30, 20:30] = 9.0
    valid = snr < 1
    np.testing.assert_array_equal(crowding(snr, valid, 2), 0.0)
    np.testing.assert_array_equal(crowding(snr, np.zeros_like(valid), 2), 0.0)
    half = np.ones_like(valid)
    half[:, ::2] = False
    full = crowding(np.full((64, 64), 2.0), half, 2)
    np.testing.assert_allclose(full, 1.0, atol=1e-6)


def test_bins():
    fractions = [0.0, 0.0029, 0.003, 0.05, 0.2, 0.5, 1.0]
    np.testing.assert_array_equal(crowding_bin(fractions), [0, 0, 1, 2, 3, 4, 4])
    assert len(CROWDING_BINS) == 5 and CROWDING_BINS[-1] == 1.0

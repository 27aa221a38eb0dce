"""Flux ratios of images whose ratios are known."""

import numpy as np
import pytest
from scipy import ndimage

from lenssr.evaluate import flux_ratio

NOTHING = np.zeros((41, 41), bool)


def star(sigma):
    y, x = np.indices((41, 41)) - 20
    return np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def test_apertures_on_gaussians_in_closed_form():
    for radius in (3, 6):
        expected = (1 - np.exp(-(radius**2) / (2 * 9))) / (1 - np.exp(-(radius**2) / (2 * 4)))
        assert flux_ratio(star(3), star(2), NOTHING, (20, 20), radius) == pytest.approx(
            expected, rel=6e-3)
    assert flux_ratio(1.7 * star(3), star(2), NOTHING) == pytest.approx(1.7, rel=1e-4)


def test_masked_pixels_count_in_neither():
    mask = NOTHING.copy()
    mask[18:, 20] = True
    image = np.where(mask, 1e9, 2 * star(2))
    assert flux_ratio(image, star(2), mask) == pytest.approx(2)
    assert flux_ratio(image, star(2), mask, (20, 20), 5) == pytest.approx(2)


def test_light_of_both_signs_has_no_ratio():
    residual = star(2) - ndimage.shift(star(2), (0.3, 0))
    assert np.isnan(flux_ratio(residual, residual, NOTHING))
    assert np.isnan(flux_ratio(star(2), np.zeros((41, 41)), NOTHING))

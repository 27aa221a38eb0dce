"""Shifts of images that were shifted by Fourier's theorem."""

import numpy as np
import pytest
from scipy import ndimage

from lenssr.evaluate import measure_shift


def scene(rng, side=64):
    image = np.zeros((side, side))
    for _ in range(12):
        y, x = rng.integers(16, side - 16, 2)
        image[y, x] = rng.uniform(1, 5)
    return ndimage.gaussian_filter(image, 2.0)


@pytest.mark.parametrize("shift", [(0, 0), (0.12, -0.31), (-0.5, 0.02), (1.37, 2.2)])
def test_shift_is_found_with_its_sign(shift):
    image = scene(np.random.default_rng(0))
    moved = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), shift[::-1])).real
    assert measure_shift(moved, image) == pytest.approx(shift, abs=0.004)
    # Another resolution, level and gain change nothing.
    blurred = 3 * ndimage.gaussian_filter(moved, 1.5) + 8
    assert measure_shift(blurred, image) == pytest.approx(shift, abs=0.01)


def test_noise_scatters_about_the_shift():
    rng = np.random.default_rng(1)
    image = scene(rng)
    moved = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (0.2, -0.1))).real
    found = np.array([measure_shift(moved + rng.normal(0, 0.01, image.shape), image)
                      for _ in range(20)])
    error = found.std(axis=0) / np.sqrt(20)
    assert np.abs(found.mean(axis=0) - [-0.1, 0.2]).max() < 5 * error.max() + 0.002


def test_nothing_has_no_place():
    assert np.isnan(measure_shift(np.zeros((20, 20)), np.ones((20, 20)))).all()

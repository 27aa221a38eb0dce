"""Adaptive moments of Gaussians in closed form, and of a galaxy against a Gaussian fit."""

import numpy as np
import pytest
from photutils.psf import GaussianPSF
from scipy import ndimage

from lenssr.evaluate import adaptive_moments, ellipticity
from lenssr.image import FWHM_PER_SIGMA


def gaussian(shape, centre, covariance):
    y, x = np.indices(shape, dtype=float)
    offset = np.stack([x - centre[0], y - centre[1]])
    return np.exp(-np.einsum("iyx,ij,jyx->yx", offset, np.linalg.inv(covariance), offset) / 2)


@pytest.mark.parametrize("covariance", [
    [[4, 0], [0, 4]], [[9, 2], [2, 3]], [[2, -1], [-1, 6]], [[0.8, 0.1], [0.1, 0.7]]])
def test_gaussians_are_exact(covariance):
    covariance = np.array(covariance, dtype=float)
    image = 7 * gaussian((41, 48), (22.3, 18.8), covariance)
    found = adaptive_moments(image, (21, 20), fwhm=3)
    assert found.centre == pytest.approx([22.3, 18.8], abs=1e-3)
    assert found.covariance == pytest.approx(covariance, abs=2e-3)
    least, most = np.sqrt(np.linalg.eigvalsh(covariance))
    assert np.hypot(*found.e) == pytest.approx((most - least) / (most + least), abs=1e-3)
    assert found.fwhm == pytest.approx(FWHM_PER_SIGMA * np.sqrt(least * most), rel=1e-3)


def test_ellipticity_has_the_orientation_of_the_axes():
    # A Gaussian of photutils, turned by 30 degrees from x to y.
    y, x = np.indices((51, 51))
    image = GaussianPSF(x_0=25, y_0=25, x_fwhm=10, y_fwhm=5, theta=30)(x, y)
    e = adaptive_moments(image, (25, 25)).e
    assert e == pytest.approx(1 / 3 * np.array([np.cos(np.pi / 3), np.sin(np.pi / 3)]), abs=1e-3)
    assert ellipticity(np.diag([1.0, 4.0])) == pytest.approx([-1 / 3, 0])


def test_lenstronomy_agrees_on_the_ellipticity():
    from lenstronomy.LightModel.light_model import LightModel

    y, x = np.indices((81, 81)) - 40.0
    light = LightModel(["GAUSSIAN_ELLIPSE"]).surface_brightness(
        x, y, [dict(amp=1, sigma=5.0, e1=0.2, e2=-0.1)])
    assert adaptive_moments(light, (40, 40)).e == pytest.approx([0.2, -0.1], abs=1e-3)


def test_noise_does_not_bias_where_there_is_signal():
    rng = np.random.default_rng(0)
    covariance = np.array([[8.0, 1.5], [1.5, 4.0]])
    image, e = gaussian((48, 48), (24.2, 23.1), covariance), []
    for _ in range(100):
        found = adaptive_moments(image + rng.normal(0, 0.03, image.shape), (24, 23))
        e.append(found.e)
    error = np.std(e, axis=0) / 10
    assert np.abs(np.mean(e, axis=0) - ellipticity(covariance)).max() < 4 * error.max()
    assert error.max() < 0.01


def test_neighbours_and_masks_stay_out():
    covariance = np.array([[4.0, 0.0], [0.0, 2.0]])
    image = gaussian((48, 48), (16, 24), covariance)
    two = image + gaussian((48, 48), (40, 24), covariance)
    assert adaptive_moments(two, (16, 24)).e == pytest.approx(ellipticity(covariance), abs=1e-4)
    spoilt, mask = image.copy(), np.zeros(image.shape, bool)
    mask[30:, 16] = True
    spoilt[mask] = np.nan
    assert adaptive_moments(spoilt, (16, 24), mask=mask).e == pytest.approx(
        ellipticity(covariance), abs=1e-3)


def test_nothing_is_nothing():
    rng = np.random.default_rng(1)
    assert adaptive_moments(np.zeros((20, 20)), (10, 10)) is None
    assert adaptive_moments(-gaussian((20, 20), (9, 9), 4 * np.eye(2)), (9, 9)) is None
    assert adaptive_moments(np.ones((30, 30)), (15, 15)) is None
    # A slope without end has no centre.
    assert adaptive_moments(np.arange(40.0) * np.ones((40, 1)), (20, 20)) is None
    found = [adaptive_moments(rng.normal(size=(30, 30)), (15, 15)) for _ in range(20)]
    assert sum(moments is None for moments in found) > 5


def test_blur_rounds():
    covariance = np.array([[9.0, 0.0], [0.0, 3.0]])
    image = ndimage.gaussian_filter(gaussian((61, 61), (30, 30), covariance), 3.0)
    # Gaussian on Gaussian: covariances add.
    assert adaptive_moments(image, (30, 30)).covariance == pytest.approx(
        covariance + 9 * np.eye(2), rel=5e-3, abs=5e-3)

"""PSFs on a finer grid, against profiles integrated by quadrature."""

import numpy as np
import pytest
from astropy.convolution import Gaussian2DKernel

from lenssr.image import TARGET_FWHM, gaussian_psf, oversample_psf, resampled_psf, target_psf


def moffat_over_pixels(fwhm, beta, y, x):
    """Tilted elliptical Moffat profile integrated over unit pixels, by Gauss-Legendre."""
    node, weight = np.polynomial.legendre.leggauss(9)
    core = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    total = 0
    for a, wa in zip(node / 2, weight / 2, strict=True):
        for b, wb in zip(node / 2, weight / 2, strict=True):
            u, v = 1.1 * (y[:, None] + a) + 0.2 * (x + b), 0.95 * (x + b)
            total = total + wa * wb * (1 + (u**2 + v**2) / core**2) ** -beta
    return total


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 4.7])
def test_gaussian_is_astropys(fwhm):
    psf = gaussian_psf(fwhm)
    n = len(psf)
    expected = Gaussian2DKernel(fwhm / 2.3548200450309493, x_size=n, y_size=n, mode="center").array
    np.testing.assert_allclose(psf, expected / expected.sum(), atol=1e-15)


def test_target_is_two_output_pixels_wide():
    profile = target_psf()[len(target_psf()) // 2]
    assert TARGET_FWHM == 2
    # half of the peak one pixel from the centre
    np.testing.assert_allclose(profile[len(profile) // 2 + 1] / profile.max(), 0.5)
    np.testing.assert_allclose(target_psf().sum(), 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("fwhm", "beta", "error"), [(2.6, 3.0, 1.5e-3), (3.3, 3.0, 5e-4), (4.5, 4.765, 1e-4)]
)
def test_oversampled_moffat(scale, fwhm, beta, error):
    """The offsets are those between centres; the error is in units of the peak."""
    pixel = np.arange(-14.0, 15)
    psf = moffat_over_pixels(fwhm, beta, pixel, pixel)
    # centres of output pixels under an input pixel at the origin: the lattice by its definition
    inside = (np.arange(scale) + 0.5) / scale - 0.5
    offset = np.sort(np.subtract.outer(pixel, inside).ravel())
    expected = moffat_over_pixels(fwhm, beta, offset, offset) / psf.sum()
    kernel = oversample_psf(psf, scale)
    assert kernel.shape == (29 * scale, 29 * scale)
    np.testing.assert_allclose(kernel, expected, atol=error * expected.max())


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 9), (25, 25)])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_flux_does_not_depend_on_the_place_in_the_pixel(scale, size):
    psf = np.random.default_rng(1).random(size)
    kernel = oversample_psf(psf, scale)
    for a in range(scale):
        for b in range(scale):
            np.testing.assert_allclose(kernel[a::scale, b::scale].sum(), 1)


def test_scale_one_changes_nothing():
    psf = gaussian_psf(2.3, 15)
    np.testing.assert_allclose(oversample_psf(psf, 1), psf, atol=1e-15)
    np.testing.assert_allclose(resampled_psf(psf, 1), psf, atol=1e-15)


@pytest.mark.parametrize("scale", [2, 3])
def test_resampled_gaussian_is_wider_by_the_scale(scale):
    psf = resampled_psf(gaussian_psf(3.0, 25), scale)
    assert psf.shape == (25 * scale // 2 * 2 + 1,) * 2
    np.testing.assert_allclose(psf, gaussian_psf(3.0 * scale, len(psf)), atol=1e-7)


def test_double_peak_is_not_forced_into_a_profile():
    """A PSF far from a Moffat profile is interpolated all the same."""
    y = np.arange(-12.0, 13)[:, None]

    def double(y, x):
        return np.exp(-(y**2 + x**2) / 4) + 0.6 * np.exp(-((y - 3) ** 2 + (x + 4) ** 2) / 4)

    psf = resampled_psf(double(y, y.T), 2)
    fine = np.arange(-25.0, 26)[:, None] / 2
    expected = double(fine, fine.T)
    np.testing.assert_allclose(psf, expected / expected.sum(), atol=1e-3 * psf.max())


@pytest.mark.parametrize("fwhm", [0, -1.0, np.nan, np.inf])
def test_bad_fwhm(fwhm):
    with pytest.raises(ValueError, match="`fwhm` must be a positive"):
        gaussian_psf(fwhm)


@pytest.mark.parametrize("size", [0, 4, -3, 3.5])
def test_bad_size(size):
    with pytest.raises(ValueError, match="`size` must be an odd positive integer"):
        gaussian_psf(2.0, size)


@pytest.mark.parametrize("function", [oversample_psf, resampled_psf])
def test_bad_psf(function):
    with pytest.raises(ValueError, match="`psf` must be a 2-D array, odd"):
        function(np.ones((4, 5)), 2)
    with pytest.raises(ValueError, match="of positive sum"):
        function(np.zeros((5, 5)), 2)

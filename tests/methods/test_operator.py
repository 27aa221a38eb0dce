"""Forward model: definition, adjoint and tiles."""

import numpy as np
import pytest
from scipy import signal

from lenssr.image import gaussian_psf, oversample_psf
from lenssr.methods import ForwardModel, PolyphaseConvolution, PSFConvolution, convolve_tiled
from lenssr.simulate import simulate_pair


def gaussian(fwhm, y, x):
    """Circular Gaussian of unit integral."""
    sigma = fwhm / 2.3548200450309493
    return np.exp(-(y[:, None] ** 2 + x**2) / 2 / sigma**2) / (2 * np.pi * sigma**2)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (6, 8)])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_definition(scale, shape):
    """y_i = sum_j P(u_i - u_j) x_j, as a direct sum."""
    rng = np.random.default_rng(2)
    psf = rng.random((5, 3))
    kernel = oversample_psf(psf, scale)
    scene = rng.random([scale * n for n in shape])
    expected = np.zeros(shape)
    position = [(np.arange(n) + 0.5) / scale - 0.5 for n in scene.shape]
    for i, j in np.ndindex(*shape):
        for a, b in np.ndindex(*scene.shape):
            row = round((i - position[0][a] + 5 / 2) * scale - 0.5)
            column = round((j - position[1][b] + 3 / 2) * scale - 0.5)
            if 0 <= row < kernel.shape[0] and 0 <= column < kernel.shape[1]:
                expected[i, j] += kernel[row, column] * scene[a, b]
    np.testing.assert_allclose(PSFConvolution(psf, scale, shape).forward(scene), expected,
                               rtol=1e-12)


@pytest.mark.parametrize("scale", [2, 3])
def test_blurred_gaussian_is_the_broader_gaussian(scale):
    """A Gaussian source off the pixels' centres, seen through a Gaussian PSF."""
    n, y, x, source, psf = 31, 15.2, 14.6, 2.5, 3.5
    fine = (np.arange(scale * n) + 0.5) / scale - 0.5
    scene = gaussian(source, fine - y, fine - x) / scale**2
    coarse = np.arange(n)
    expected = gaussian(np.hypot(source, psf), coarse - y, coarse - x)
    seen = PSFConvolution(gaussian_psf(psf, 27), scale, (n, n)).forward(scene)
    np.testing.assert_allclose(seen, expected, atol=2e-6 * expected.max())


@pytest.mark.parametrize("tile", [None, 1, 7, 16])
@pytest.mark.parametrize("shape", [(1, 1), (17, 30)])
def test_adjoint(shape, tile):
    rng = np.random.default_rng(3)
    operator = PSFConvolution(rng.random((7, 9)), 2, shape, tile)
    scene, data = rng.normal(size=[2 * n for n in shape]), rng.normal(size=shape)
    there, back = np.vdot(data, operator.forward(scene)), np.vdot(operator.adjoint(data), scene)
    np.testing.assert_allclose(there, back, rtol=1e-11)


@pytest.mark.parametrize("shape", [(1, 1), (17, 30)])
def test_forward_model_adjoint(shape):
    rng = np.random.default_rng(3)
    operator = ForwardModel(gaussian_psf(3.0, 7), 2, shape, tile=8)
    image, data = rng.normal(size=[2 * n for n in shape]), rng.normal(size=shape)
    there, back = np.vdot(data, operator.forward(image)), np.vdot(operator.adjoint(data), image)
    np.testing.assert_allclose(there, back, rtol=1e-11)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_forward_model_of_a_gaussian(scale):
    """A source at the target resolution is observed with the full PSF."""
    n, y, x, source, psf = 41, 20.2, 19.6, 1.5, 3.0
    fine = (np.arange(scale * n) + 0.5) / scale - 0.5
    scene = gaussian(np.hypot(source, 2 / scale), fine - y, fine - x)
    coarse = np.arange(n)
    expected = gaussian(np.hypot(source, psf), coarse - y, coarse - x)
    seen = ForwardModel(gaussian_psf(psf, 31), scale, (n, n)).forward(scene)
    np.testing.assert_allclose(seen, expected, atol=5e-4 * expected.max())


def test_forward_model_keeps_a_constant_and_agrees_with_the_simulator():
    pair = simulate_pair("hsc-hst", seed=4, index=3, size=64)
    scene = np.asarray(pair.hr.data) * 4
    operator = ForwardModel(np.asarray(pair.lr.psf), 2, pair.lr.shape)
    np.testing.assert_allclose(operator.forward(np.ones(scene.shape)), 1, rtol=1e-12)
    residual = (np.asarray(pair.lr.data) - operator.forward(scene)) / pair.lr.uncertainty.array
    inner = residual[12:-12, 12:-12]
    # 40 x 40 pixels: the chi-squared per pixel scatters by 0.035.
    assert abs(np.mean(inner**2) - 1) < 0.12


@pytest.mark.parametrize("tile", [1, 5, 16, 40])
def test_tiles_agree(tile):
    rng = np.random.default_rng(4)
    psf, scene, data = rng.random((9, 9)), rng.random((66, 90)), rng.random((33, 45))
    full, tiled = PSFConvolution(psf, 2, data.shape), PSFConvolution(psf, 2, data.shape, tile)
    np.testing.assert_allclose(tiled.forward(scene), full.forward(scene), rtol=1e-12)
    np.testing.assert_allclose(tiled.adjoint(data), full.adjoint(data), rtol=1e-12)


@pytest.mark.parametrize("tile", [None, 10])
def test_convolution_agrees_with_scipy(tile):
    rng = np.random.default_rng(5)
    image, kernel = rng.normal(size=(24, 31)), rng.normal(size=(5, 7))
    expected = signal.convolve2d(image, kernel, mode="same")
    np.testing.assert_allclose(convolve_tiled(image, kernel, tile), expected, atol=1e-12)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`kernel` must have 2 times an odd number"):
        PolyphaseConvolution(np.ones((8, 6)), 2, (5, 5))
    with pytest.raises(ValueError, match="`tile` must be a positive integer or None, got 0"):
        PSFConvolution(np.ones((3, 3)), 2, (5, 5), tile=0)

"""Interpolation against other implementations, and its flux, errors and PSF."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.transform import resize

from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import Interpolate, RunOptions

KINDS = ["bilinear", "bicubic", "lanczos"]


def plane(data, sigma=1.0, mask=None, psf=None):
    """A `LensImage` from as little as possible."""
    data = np.asarray(data, float)
    sigma = np.broadcast_to(sigma, data.shape).astype(float)
    mask = np.zeros(data.shape, bool) if mask is None else mask
    return LensImage(data, sigma, mask, psf, float(np.median(sigma)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bilinear_agrees_with_scikit_image(scale):
    """Borders included."""
    data = np.random.default_rng(1).normal(size=(13, 20))
    expected = resize(data, (13 * scale, 20 * scale), order=1, mode="symmetric")
    result = Interpolate("bilinear").restore(plane(data), RunOptions(scale))
    np.testing.assert_allclose(result.mean, expected, atol=1e-13)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("kind", "filter_"),
    [("bicubic", Image.Resampling.BICUBIC), ("lanczos", Image.Resampling.LANCZOS)],
)
def test_cubic_and_lanczos_agree_with_pillow(kind, filter_, scale):
    """In the interior: Pillow does not reflect at the borders, and is of single precision."""
    data = np.random.default_rng(2).normal(size=(16, 21))
    size = (21 * scale, 16 * scale)
    expected = np.asarray(Image.fromarray(data.astype(np.float32)).resize(size, filter_))
    result = Interpolate(kind).restore(plane(data), RunOptions(scale)).mean
    inside = slice(3 * scale, -3 * scale)
    np.testing.assert_allclose(result[inside, inside], expected[inside, inside], atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_pixel_centres(kind):
    """Positions of a well-sampled scene follow the convention of pixel centres."""
    scale, n = 3, 40
    grid = np.arange(n)
    data = np.exp(-((grid[:, None] - 18.3) ** 2 + (grid - 21.6) ** 2) / 2 / 2.5**2)
    result = Interpolate(kind).restore(plane(data), RunOptions(scale)).mean
    centroid = ndimage.center_of_mass(result)
    np.testing.assert_allclose(centroid, [18.8 * scale - 0.5, 22.1 * scale - 0.5], atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 3), (17, 40)])
@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_flux_and_constants(kind, scale, shape):
    data = np.random.default_rng(3).normal(5, 1, shape)
    method, run = Interpolate(kind), RunOptions(scale)
    mean = method.restore(plane(data), run).mean
    assert mean.shape == (shape[0] * scale, shape[1] * scale)
    np.testing.assert_allclose(mean.sum() / scale**2, data.sum(), rtol=1e-12)
    flat = method.restore(plane(np.full(shape, 7.0)), run).mean
    np.testing.assert_allclose(flat, 7, rtol=1e-13)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_the_diagonal_of_the_propagated_covariance(kind, scale):
    """J S J^T, with J from the responses to single pixels."""
    sigma = np.random.default_rng(4).uniform(0.5, 2, (6, 7))
    method, run = Interpolate(kind), RunOptions(scale)
    pixels = np.eye(42).reshape(42, 6, 7)
    jacobian = np.stack([method.restore(plane(p), run).mean.ravel() for p in pixels], axis=1)
    expected = np.sqrt(np.diag(jacobian @ np.diag(sigma.ravel() ** 2) @ jacobian.T))
    claimed = method.restore(plane(np.ones((6, 7)), sigma), run).measurement_std
    np.testing.assert_allclose(claimed.ravel(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [2, 3])
def test_psf_is_the_mean_response_to_point_sources(kind, scale):
    """Put a source at the centre of each output pixel within an input pixel."""
    n, size = 41, 13
    sigma = 3.2 / 2.3548200450309493
    offset = np.arange(n) - n // 2
    responses = []
    for a in range(scale):
        for b in range(scale):
            y, x = ((k + 0.5) / scale - 0.5 for k in (a, b))
            data = np.exp(-((offset[:, None] - y) ** 2 + (offset - x) ** 2) / 2 / sigma**2)
            mean = Interpolate(kind).restore(plane(data), RunOptions(scale)).mean
            row, column = scale * (n // 2) + a, scale * (n // 2) + b
            half = size // 2
            responses.append(
                mean[row - half : row + half + 1, column - half : column + half + 1]
                / (2 * np.pi * sigma**2 * scale**2)
            )
    result = Interpolate(kind).restore(plane(data, psf=gaussian_psf(3.2, 25)), RunOptions(scale))
    cut = (len(result.psf) - size) // 2
    psf = result.psf[cut : cut + size, cut : cut + size]
    np.testing.assert_allclose(psf, np.mean(responses, axis=0), atol=2e-5 * psf.max())
    assert result.psf_kind == "input"
    np.testing.assert_allclose(result.psf.sum(), 1)


def test_no_psf_gives_none():
    assert Interpolate("bicubic").restore(plane(np.ones((4, 4))), RunOptions(2)).psf is None


@pytest.mark.parametrize("kind", KINDS)
def test_masked_pixels(kind):
    mask = np.zeros((12, 12), bool)
    mask[5, 6] = mask[8:11, 2:5] = True
    missing = Interpolate(kind).restore(plane(np.ones((12, 12)), mask=mask), RunOptions(2)).mask
    parent = np.kron(mask, np.ones((2, 2), bool))
    assert missing[parent].all()
    # no output pixel of a valid one rests mostly on these
    np.testing.assert_array_equal(missing, parent)


def test_valid_pixel_among_masked_pixels_is_masked_at_its_corners():
    """Three of four quarters of the weight are on masked pixels there: 7/16 is left."""
    mask = np.ones((7, 7), bool)
    mask[3, 3] = False
    missing = Interpolate("bilinear").restore(plane(np.ones((7, 7)), mask=mask), RunOptions(4)).mask
    # bilinear weights of the centre: 7/8 and 5/8 of a pixel, squared or multiplied
    expected = np.ones((28, 28), bool)
    input_psf = np.array([5, 7, 7, 5]) / 8
    expected[12:16, 12:16] = 1 - np.multiply.outer(input_psf, input_psf) > 0.5
    np.testing.assert_array_equal(missing, expected)


def test_unknown_kind():
    with pytest.raises(ValueError, match="`kernel` must be one of bilinear, bicubic, lanczos, got"):
        Interpolate("nearest")

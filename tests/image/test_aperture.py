"""Fluxes in apertures: photutils' sums, and errors that know of correlations."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from photutils.aperture import (
    CircularAperture,
    EllipticalAperture,
    RectangularAperture,
    SkyCircularAperture,
    aperture_photometry,
)
from scipy import ndimage

from lenssr import SuperResolvedImage, superresolve
from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import RunOptions, make_method
from lenssr.uncertainty import (
    MAX_LAG,
    ErrorCorrelation,
    decimate,
    from_quadrant,
    kernel_correlation,
    measure_error_correlation,
    sum_variance,
    to_quadrant,
)

RNG = np.random.default_rng(0)
SHAPE = (40, 46)


def white():
    kernel = np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1))
    kernel[MAX_LAG, MAX_LAG] = 1
    return ErrorCorrelation.stationary(kernel)


def tan():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.1, 2.2]
    wcs.wcs.crpix, wcs.wcs.cdelt = [12.5, 20], [-2e-5, 2e-5]
    wcs.wcs.set()
    return wcs


def make(correlation=None, **kwargs):
    std = RNG.uniform(1, 2, SHAPE)
    maps = {"measurement_std": std, "correlation": white() if correlation is None else correlation,
            "unit": "nJy", "wcs": tan()}
    return SuperResolvedImage(RNG.normal(5, 1, SHAPE), **{**maps, **kwargs})


def restore(data, method="bilinear", **kwargs):
    kwargs = {"uncertainty": 1.0, "unit": "nJy", "psf": gaussian_psf(3.0), **kwargs}
    return superresolve(data, method, **kwargs)


def test_independent_pixels_as_photutils_has_them():
    image = make()
    # Along the edges of pixels: of a share w of a pixel photutils takes the variance times w.
    apertures = [RectangularAperture((20.5, 18.5), w, h) for w, h in ((4, 6), (10, 10), (2, 2))]
    flux, error = image.aperture_sum(apertures)
    table = aperture_photometry(image.data, apertures, error=image.measurement_std)
    np.testing.assert_allclose(flux.value, [table[f"aperture_sum_{k}"][0] for k in range(3)])
    np.testing.assert_allclose(error.value, [table[f"aperture_sum_err_{k}"][0] for k in range(3)])
    assert flux.unit == error.unit == u.nJy
    circles = CircularAperture([(20, 18), (9.3, 7.7)], 5.5)
    flux, _ = image.aperture_sum(circles)
    np.testing.assert_allclose(flux.value, circles.do_photometry(image.data)[0])


def test_four_copies_of_one_pixel():
    """Each of four output pixels has a quarter of the error of its input pixel, and is the same."""
    image = make(ErrorCorrelation.stationary(kernel_correlation(np.ones((2, 2)))),
                 measurement_std=np.full(SHAPE, 0.25))
    # Of copies only the mean over their places is known, which half an input pixel averages out.
    error = image.aperture_sum(RectangularAperture((20, 18), 20, 20)).error.value
    assert error == pytest.approx(10, rel=0.06)
    assert error > 1.9 * 0.25 * 20  # in quadrature


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("method", ["bilinear", "bicubic", "lanczos"])
def test_exact_error_of_linear_methods(method, scale):
    """Against the response of the aperture's flux to each input pixel."""
    n, apertures = 11, [CircularAperture((5.2 * scale, 5.7 * scale), r) for r in (1.5, 4, 7)]
    masks = [circle.to_mask().to_image((n * scale,) * 2) for circle in apertures]
    nothing, restorer = np.zeros((n, n)), make_method(method, scale, {})
    responses = []
    for position in np.ndindex(n, n):
        impulse = nothing.copy()
        impulse[position] = 1
        image = LensImage(impulse, np.ones((n, n)), nothing > 0, None, 1.0)
        mean = restorer.restore(image, RunOptions(scale)).mean
        responses.append([(mask * mean).sum() for mask in masks])
    restored = restore(nothing, method, scale=scale, flux="surface-brightness")
    np.testing.assert_allclose(restored.aperture_sum(apertures).error.value,
                               np.linalg.norm(responses, axis=0), rtol=0.05)


def test_two_parts_add_in_quadrature():
    y, x = np.mgrid[-MAX_LAG:MAX_LAG + 1, -MAX_LAG:MAX_LAG + 1]
    kernel = np.exp(-(x**2 + y**2) / 20)
    prior = RNG.uniform(1, 2, SHAPE)
    image = make(white().with_component(ErrorCorrelation.stationary(kernel)), prior_std=prior)
    aperture = EllipticalAperture((20, 18), 7, 4, theta=0.4 * u.rad)
    weights = aperture.to_mask(method="exact").to_image(SHAPE)
    positions = np.argwhere(weights > 0)
    lags = positions[:, None] - positions[None]
    amplitude = (weights * prior)[weights > 0]
    dense = amplitude @ np.exp(-(lags**2).sum(-1) / 20) @ amplitude
    expected = np.sqrt(((weights * image.measurement_std) ** 2).sum() + dense)
    assert image.aperture_sum(aperture).error.value == pytest.approx(expected, rel=1e-6)
    assert sum_variance(weights, prior, kernel) == pytest.approx(dense, rel=1e-6)


def test_sky_and_source_are_correlated_each_in_its_way():
    """Draws of two fields: broad and of one amplitude, and a narrow one where a source is."""
    rng, (y, x) = np.random.default_rng(4), np.mgrid[:96, :96]
    source = 5 * np.exp(-((x - 40) ** 2 + (y - 48) ** 2) / (2 * 14**2))

    def field(width):
        values = ndimage.gaussian_filter(rng.normal(size=(96, 96)), width, mode="wrap")
        return values * 2 * np.sqrt(np.pi) * width  # of unit variance

    draws = [field(3) + source * field(1) for _ in range(200)]
    std = np.sqrt(1 + source**2)
    correlation = measure_error_correlation(draws[:8], std)
    apertures = CircularAperture([(40, 48), (85, 10), (44, 40)], 7)
    weights = [mask.to_image(std.shape) for mask in apertures.to_mask()]
    error = [correlation.sum_variance(weight, [std]) ** 0.5 for weight in weights]
    scatter = np.std([[(weight * draw).sum() for weight in weights] for draw in draws], axis=0)
    np.testing.assert_allclose(error, scatter, rtol=0.2)
    # The level is that of half of the pixels; where all are alike there is one correlation.
    assert 1 <= correlation.levels[0] < 1.1
    everywhere = measure_error_correlation([field(2)], np.ones((96, 96)))
    np.testing.assert_array_equal(*everywhere.kernels[0])


def test_factors_of_sums_are_those_of_the_last_part():
    """Factors apply to sums of several pixels, by their number and the sky fraction."""
    factors = np.ones((1, 6, 3))
    factors[0, 0], factors[0, -1] = 0.9, 3.0  # without any of the sky, and mostly so
    weights, std = CircularAperture((20, 20), 6).to_mask().to_image((40, 40)), np.ones((40, 40))
    for level, factor in ((0.0, 0.9), (np.inf, 3.0)):
        prior = ErrorCorrelation(white().kernels, np.array([level]), factors)
        both = white().with_component(prior)
        variance = both.sum_variance(weights, [0.1 * std, std])
        assert variance == pytest.approx(factor**2 * 1.01 * (weights**2).sum(), rel=1e-6)
        assert ErrorCorrelation.stack([both])[0].sum_variance(
            weights, [0.1 * std, std]) == variance
    one = np.zeros((40, 40))
    one[3, 4] = 1.0
    assert both.sum_variance(one, [0.1 * std, std]) == pytest.approx(1.01)
    assert both.sum_variance(0 * one, [std, std]) == 0


def test_one_pixel_has_its_own_error():
    image = make(white().with_component(white()), prior_std=np.full(SHAPE, 3.0))
    error = image.aperture_sum(RectangularAperture((5, 7), 1, 1)).error.value
    assert error == pytest.approx(np.hypot(image.measurement_std[7, 5], 3))


def test_apertures_on_the_sky():
    image = make()
    position = image.wcs.pixel_to_world(20, 18)
    assert isinstance(position, SkyCoord)
    on_sky = image.aperture_sum(SkyCircularAperture(position, 4 * 0.072 * u.arcsec))
    in_pixels = image.aperture_sum(CircularAperture((20, 18), 4))
    np.testing.assert_allclose([q.value for q in on_sky], [q.value for q in in_pixels], rtol=1e-6)


def test_masked_pixels_do_not_count_and_none_are_off_the_image():
    mask = np.zeros(SHAPE, bool)
    mask[18, 20] = True
    image, aperture = make(mask=mask), RectangularAperture((20, 18), 3, 3)
    image.data[18, 20] = np.nan
    flux, error = image.aperture_sum(aperture)
    keep = np.ones((3, 3), bool)
    keep[1, 1] = False
    cut = slice(17, 20), slice(19, 22)
    assert flux.value == pytest.approx(image.data[cut][keep].sum())
    assert error.value == pytest.approx(np.linalg.norm(image.measurement_std[cut][keep]))
    assert np.isnan(image.aperture_sum(CircularAperture((-50, 3), 2)).flux.value)


def test_cubes_have_a_first_axis_of_bands():
    data = RNG.normal(0, 1, (3, 16, 18))
    cube = restore(data, uncertainty=np.array([1.0, 2, 3])[:, None, None] * np.ones((3, 16, 18)))
    assert cube.correlation.kernels.shape == (3, 1, 2, 2 * MAX_LAG + 1, 2 * MAX_LAG + 1)
    apertures = [CircularAperture((16, 15), r) for r in (3, 5)]
    flux, error = cube.aperture_sum(apertures)
    assert flux.shape == error.shape == (3, 2)
    np.testing.assert_allclose(error[2] / error[0], 3, rtol=1e-6)
    one = cube[1].aperture_sum(apertures)
    np.testing.assert_array_equal(one.error, error[1])


def test_it_survives_files_slices_and_numbers(tmp_path):
    image = restore(RNG.normal(0, 1, (24, 26)), "bicubic")
    aperture = CircularAperture((20, 22), 5)
    flux, error = image.aperture_sum(aperture)
    image.correlation.factors[:] = 1.5
    flux, error = image.aperture_sum(aperture)
    image.write(tmp_path / "image.fits")
    for other, factor in ((SuperResolvedImage.read(tmp_path / "image.fits"), 1),
                          (image[4:, 3:], 1), (image.multiply(-3), 3), (image.divide(2), 0.5),
                          (image.add(1 * u.nJy), 1), (image.convert_unit_to("uJy"), 1e-3)):
        moved = CircularAperture((17, 18), 5) if other.shape != image.shape else aperture
        assert other.aperture_sum(moved).error.value == pytest.approx(factor * error.value)
    assert image.subtract(image, compare_wcs=None).correlation is None


def test_every_other_pixel_is_less_correlated():
    image = restore(RNG.normal(0, 1, (24, 26)), "bicubic")
    every, kernel = image[::2, 1::2].correlation.kernels[0, 0], image.correlation.kernels[0, 0]
    np.testing.assert_array_equal(every, kernel[MAX_LAG % 2::2, MAX_LAG % 2::2])
    assert every[MAX_LAG // 2, MAX_LAG // 2] == 1
    cube = decimate(np.stack([kernel] * 3), (slice(None), slice(None), slice(None, None, 3)), 3)
    assert cube.shape == (3, 2 * MAX_LAG + 1, 2 * (MAX_LAG // 3) + 1)
    np.testing.assert_array_equal(decimate(kernel, (Ellipsis, slice(3, 9)), 2), kernel)


def test_a_quarter_says_all_of_a_correlation_without_direction():
    y, x = np.mgrid[-MAX_LAG:MAX_LAG + 1, -MAX_LAG:MAX_LAG + 1]
    kernel = np.exp(-np.hypot(x, y) / 3)
    np.testing.assert_allclose(from_quadrant(to_quadrant(kernel)), kernel, atol=1e-4)


def test_bad_input():
    image = make()
    with pytest.raises(TypeError, match="`aperture` must be an aperture of photutils.* got str"):
        image.aperture_sum("circle")
    with pytest.raises(TypeError, match="got float"):
        image.aperture_sum([CircularAperture((3, 3), 2), 4.0])
    with pytest.raises(ValueError, match="`aperture_sum` needs the correlation of the errors"):
        make(correlation=None, measurement_std=None).aperture_sum(CircularAperture((3, 3), 2))
    sky = SkyCircularAperture(SkyCoord(150, 2, unit="deg"), 1 * u.arcsec)
    with pytest.raises(ValueError, match="`aperture` must be in pixels for an image without a WCS"):
        make(wcs=None).aperture_sum(sky)

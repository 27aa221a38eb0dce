"""Noise: read from every kind of uncertainty, or estimated from the sky."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    InverseVariance,
    NDUncertainty,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)

from lenssr.exceptions import LensSRWarning
from lenssr.image import (
    UNCERTAINTY_POWERS,
    as_uncertainty,
    parse_unit,
    safe_downcast,
    sigma_from,
    uncertainty_class,
)
from lenssr.uncertainty import estimate_sky, find_sky, sky_level, sky_noise

VALID = np.zeros((2, 3), bool)
SIGMA = np.arange(1.0, 7.0).reshape(2, 3)
KINDS = (StdDevUncertainty, VarianceUncertainty, InverseVariance)


class Variance(VarianceUncertainty):
    """A class of a user's own."""


@pytest.mark.parametrize("kind", [*KINDS, Variance])
def test_there_and_back(kind):
    uncertainty = as_uncertainty(SIGMA, kind, u.Jy)
    expected = {1: SIGMA, 2: SIGMA**2, -2: SIGMA**-2}[UNCERTAINTY_POWERS[uncertainty_class(kind)]]
    assert type(uncertainty) is kind
    np.testing.assert_allclose(uncertainty.array, expected, rtol=1e-15)
    assert uncertainty.unit == u.Jy ** UNCERTAINTY_POWERS[uncertainty_class(kind)]
    sigma, noise = sigma_from(uncertainty, VALID, u.mJy)
    assert noise is kind
    np.testing.assert_allclose(sigma, 1000 * SIGMA, rtol=1e-14)


def test_without_unit_it_is_the_data_s():
    for kind in KINDS:
        sigma, _ = sigma_from(as_uncertainty(SIGMA, kind, None), VALID, u.mJy)
        np.testing.assert_allclose(sigma, SIGMA, rtol=1e-14)


@pytest.mark.parametrize("given", [2, 2.0, np.float32(2), 2000 * u.mJy, np.full((2, 3), 2),
                                   [[2, 2, 2], [2, 2, 2]], StdDevUncertainty(2.0)])
def test_anything_else_is_a_standard_deviation(given):
    sigma, kind = sigma_from(given, VALID, u.Jy)
    assert kind is StdDevUncertainty and sigma.dtype == np.float64
    np.testing.assert_allclose(sigma, np.full((2, 3), 2.0))


def test_one_map_for_all_planes():
    sigma, _ = sigma_from(SIGMA, np.zeros((4, 2, 3), bool), None)
    np.testing.assert_array_equal(sigma, [SIGMA] * 4)


def test_no_weight():
    assert np.isinf(sigma_from(InverseVariance(np.zeros((2, 3))), VALID, None)[0]).all()


def test_under_the_mask_it_may_hold_anything():
    missing = np.array([[True, False, False], [False, True, True]])
    spoilt = np.where(missing, [[-1.0, 0, 0], [0, np.nan, -np.inf]], SIGMA)
    sigma, _ = sigma_from(VarianceUncertainty(spoilt), missing, None)
    np.testing.assert_array_equal(sigma[~missing], np.sqrt(SIGMA[~missing]))


@pytest.mark.parametrize(("given", "error", "message"), [
    (-1.0, ValueError, "must not be negative, got -1"),
    (VarianceUncertainty(-SIGMA), ValueError, "must not be negative, got -6"),
    (np.ones((3, 2)), ValueError, r"must have the shape of the data \(2, 3\), got \(3, 2\)"),
    (2 * u.s, ValueError, "must have a unit that converts to Jy, got s"),
    (VarianceUncertainty(SIGMA, unit=u.Jy), ValueError, "converts to Jy2, got Jy"),
    (UnknownUncertainty(SIGMA), TypeError, "InverseVariance, got UnknownUncertainty"),
    ("a lot", TypeError, "array of numbers or an astropy uncertainty, got str"),
    (object(), TypeError, "array of numbers or an astropy uncertainty, got object"),
    ([[1, 2], [3]], TypeError, "array of numbers or an astropy uncertainty, got list"),
])
def test_bad_uncertainties(given, error, message):
    with pytest.raises(error, match=f"`uncertainty` .*{message}"):
        sigma_from(given, VALID, u.Jy)


def test_units_that_astropy_does_not_know():
    unknown = parse_unit("blorp", silent=True)
    for kind in KINDS:
        uncertainty = as_uncertainty(SIGMA, kind, unknown)
        assert uncertainty.unit == (unknown if kind is StdDevUncertainty else None)
        np.testing.assert_allclose(sigma_from(uncertainty, VALID, unknown)[0], SIGMA)
    with pytest.raises(ValueError, match="`uncertainty` must have a unit that converts to blorp"):
        sigma_from(StdDevUncertainty(SIGMA, unit=u.Jy), VALID, unknown)


def test_precision_follows_the_data_unless_it_cannot_hold_them():
    """Fluxes of 1e-20 erg/s/cm2 have inverse variances of 1e40: infinite in single precision."""
    assert as_uncertainty(SIGMA, InverseVariance, None, np.float32).array.dtype == np.float32
    faint = as_uncertainty(1e-20 * SIGMA, InverseVariance, None, np.float32)
    np.testing.assert_allclose(faint.array, 1e40 * SIGMA**-2, rtol=1e-12)
    faint = as_uncertainty(1e-20 * SIGMA, VarianceUncertainty, None, np.float32)
    np.testing.assert_allclose(faint.array, 1e-40 * SIGMA**2, rtol=1e-12)
    zeros = as_uncertainty(0 * SIGMA, StdDevUncertainty, None, np.float32)
    assert zeros.array.dtype == np.float32


def test_narrow():
    for values, dtype in (([1e30, 0, 1e-45], np.float32), ([np.nan, np.inf, 1], np.float32),
                          ([1e39], np.float64), ([1e-39, 2e-39], np.float64), ([], np.float32)):
        narrowed = safe_downcast(np.array(values, float), np.float32)
        assert narrowed.dtype == dtype
        np.testing.assert_allclose(narrowed, values, rtol=1e-6, atol=1e-44)


def test_base_class():
    assert uncertainty_class(Variance) is VarianceUncertainty
    assert uncertainty_class(NDUncertainty) is None


def stars(rng, n, count, sky, sigma):
    """A field of Gaussian sources, of up to 300 sigma, on a flat sky of white noise."""
    y, x = np.mgrid[:n, :n]
    image = rng.normal(sky, sigma, (n, n))
    for _ in range(count):
        width, height = rng.uniform(1, 3), sigma * 10 ** rng.uniform(0.3, 2.5)
        radius = np.hypot(x - rng.uniform(0, n), y - rng.uniform(0, n))
        image += height * np.exp(-0.5 * (radius / width) ** 2)
    return image


@pytest.mark.parametrize(("n", "count", "sky"), [(64, 0, 0), (64, 5, 0), (64, 20, 1e4),
                                                 (128, 40, -3)])
def test_estimated_noise(n, count, sky):
    """Within 5 %, as the mean of a few fields; the scatter of a single one is its own."""
    noise = [estimate_sky(stars(np.random.default_rng(seed), n, count, sky, 3.0),
                          np.zeros((n, n), bool)) for seed in range(6)]
    assert np.mean(noise) == pytest.approx(3.0, rel=0.05)
    assert np.std(noise) < 0.1 * 3.0


@pytest.mark.parametrize(("n", "height"), [(32, 5), (32, 50), (64, 500)])
def test_a_lens_that_fills_the_image(n, height):
    y, x = np.mgrid[:n, :n] - n / 2 + 0.5
    radius = np.hypot(x, y)
    lens = height * (np.exp(-radius / 4) + 0.3 * np.exp(-0.5 * ((radius - n / 4) / 2.5) ** 2))
    noise = [estimate_sky(lens + np.random.default_rng(seed).normal(0, 1, lens.shape),
                          np.zeros(lens.shape, bool)) for seed in range(6)]
    assert np.mean(noise) == pytest.approx(1, rel=0.07)


def test_noise_of_a_large_image_is_measured_in_blocks():
    """Blocks of 256 pixels from all over the image bound the run time."""
    image, mask = stars(np.random.default_rng(9), 1200, 8, 0, 2.0), np.zeros((1200, 1200), bool)
    estimate, full = estimate_sky(image, mask), find_sky(image, mask)[0]
    assert estimate == pytest.approx(full, rel=0.05) and estimate != full
    mask[:] = True
    mask[260:300, 260:300] = False  # between the blocks
    assert estimate_sky(image, mask) == pytest.approx(2, rel=0.2)


def test_masked_pixels_do_not_count():
    image = stars(np.random.default_rng(1), 64, 5, 0, 1.0)
    mask = np.random.default_rng(2).random(image.shape) < 0.3
    noise = estimate_sky(np.where(mask, 1e30, image), mask)
    assert noise == estimate_sky(np.where(mask, 0, image), mask) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("rim", [0.1, 0.45, 0.8])
@pytest.mark.parametrize("blank", [0.0, -32768.0])
def test_a_rim_that_no_exposure_reached(rim, blank):
    image = stars(np.random.default_rng(3), 96, 5, 0, 2.0)
    image[: int(96 * rim)] = blank
    assert estimate_sky(image, np.zeros(image.shape, bool)) == pytest.approx(2, rel=0.08)


@pytest.mark.parametrize("rate", [0.05, 0.3, 30])
def test_photons(rate):
    image = np.random.default_rng(4).poisson(rate, (64, 64)).astype(float)
    assert estimate_sky(image, image < 0) == pytest.approx(np.sqrt(rate), rel=0.15)


@pytest.mark.parametrize("image", [np.zeros((8, 8)), np.full((1, 1), 3.0), np.eye(9)[:, :5] * 0])
def test_no_noise(image):
    mask = np.zeros(image.shape, bool)
    assert estimate_sky(image, mask) == 0
    with pytest.warns(LensSRWarning, match="the image shows no noise: a noise of .* was assumed"):
        sigma, noise = sky_noise(image, None, mask)
    assert noise > 0 and (sigma == noise).all()


@pytest.mark.parametrize("shape", [(3, 3), (4, 40), (2, 1)])
def test_small_images(shape):
    image = np.random.default_rng(6).normal(0, 1, shape)
    assert 0 < estimate_sky(image, np.zeros(shape, bool)) < 3


def test_what_is_estimated_is_said():
    image = stars(np.random.default_rng(7), 40, 1, 0, 0.5)
    with pytest.warns(LensSRWarning, match="a noise of 0.[45].* per pixel was estimated"):
        sigma, noise = sky_noise(image, None, np.zeros(image.shape, bool))
    assert (sigma == noise).all()


def test_known_noise():
    """The noise of the sky is the lower quartile: sources only add to it."""
    sigma, mask = np.full((20, 20), 2.0), np.zeros((20, 20), bool)
    sigma[5:10, 5:15], mask[0, 0], sigma[0, 0] = 9.0, True, np.nan
    known, noise = sky_noise(np.zeros((20, 20)), sigma, mask)
    assert noise == 2 and known[0, 0] == 2 and known[7, 7] == 9


@pytest.mark.parametrize(("level", "noise"), [(0.0, 0), (2.0, 0), (-100.0, -100), (1e3, 1e3)])
def test_sky_that_was_not_subtracted(level, noise):
    image = stars(np.random.default_rng(8), 64, 3, level, 1.0)
    assert sky_level(image, np.zeros(image.shape, bool), 1.0) == pytest.approx(noise, abs=0.3)


def test_real_skies(shared_data):
    """Empty fields of DES: between the clipped scatter and two thirds of it."""
    for band in "griz":
        for stamp in fits.getdata(shared_data / "sky" / f"DES_bg_{band}.fits")[:6].astype(float):
            scatter = 1.4826 * np.median(np.abs(stamp - np.median(stamp)))
            assert 0.6 * scatter < estimate_sky(stamp, np.zeros(stamp.shape, bool)) < scatter


def test_real_lens(shared_data):
    """The estimate beside the noise map that the pipeline made."""
    folder = shared_data / "hst_slacs0946"
    image, noise = (fits.getdata(folder / f"{name}.fits").astype(float)
                    for name in ("data", "noise_map"))
    assert estimate_sky(image, np.zeros(image.shape, bool)) == pytest.approx(
        np.percentile(noise, 10), rel=0.15)


def test_light_that_fills_the_frame_is_no_sky():
    y, x = np.mgrid[:32, :32] - 15.5
    galaxy = 300 * np.exp(-np.hypot(x, y) / 10)
    assert sky_level(galaxy, np.zeros(galaxy.shape, bool), 1.0) == 0

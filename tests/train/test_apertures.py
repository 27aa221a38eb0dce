"""Predicted errors of sums over apertures, made to cover the true ones."""

import numpy as np
import pytest
from photutils.aperture import CircularAperture
from scipy import ndimage

from lenssr.train import aperture_factors
from lenssr.uncertainty import (
    APERTURE_AREAS,
    APERTURE_FRACTIONS,
    MAX_LAG,
    NORMAL_COVERAGE,
    ErrorCorrelation,
    aperture_sum_factor,
    interpolate_factors,
    to_quadrant,
)

N, SIDE = 100, 48
MEASUREMENT, REST = 0.3, 0.8
Y, X = np.mgrid[-MAX_LAG:MAX_LAG + 1, -MAX_LAG:MAX_LAG + 1]


def gaussian(width):
    """Correlation by lag of white noise smoothed by a Gaussian."""
    return np.exp(-(X**2 + Y**2) / (4 * width**2))


def noise(rng, width):
    white = ndimage.gaussian_filter(rng.normal(size=(N, SIDE, SIDE)), (0, width, width),
                                    mode="wrap")
    return white / white.std()


def restored(rng, amplitude=1.0, width=1.5):
    """Errors, and what is told of them: that the rest is correlated over one and a half pixels."""
    error = amplitude * (MEASUREMENT * noise(rng, 0.8) + REST * noise(rng, width))
    truth = np.zeros_like(error)
    truth[:, 20, 27] = 1000  # what is brightest is no error
    arrays = {"mean": truth + error, "truth": truth,
              "std": np.full_like(error, MEASUREMENT), "level": np.full(N, MEASUREMENT),
              "kernels": np.broadcast_to(gaussian(0.8), (N, 2, *X.shape)),
              "weight": np.ones((N, SIDE // 2, SIDE // 2))}
    told = {"faint": to_quadrant(gaussian(1.5)), "bright": to_quadrant(gaussian(1.5))}
    return arrays, np.full_like(error, np.hypot(MEASUREMENT, REST)), np.full_like(error, 20.0), told


def test_right_errors_stay():
    arrays, whole, snr, told = restored(np.random.default_rng(0))
    factors, shares = aperture_factors(arrays, whole, snr, told, 2)
    assert np.shape(factors) == (len(APERTURE_FRACTIONS), len(APERTURE_AREAS) - 1)
    np.testing.assert_allclose(factors, 1, atol=0.12)
    np.testing.assert_allclose(shares, NORMAL_COVERAGE, atol=0.02)


def test_factor_is_that_of_the_errors():
    arrays, whole, snr, told = restored(np.random.default_rng(0), 1.7)
    factors, shares = aperture_factors(arrays, whole, snr, told, 2)
    np.testing.assert_allclose(factors, 1.7, rtol=0.1)
    np.testing.assert_allclose(shares, NORMAL_COVERAGE, atol=0.02)


def test_errors_are_at_least_those_of_the_measurement():
    """What the noise alone does is known, and counts, whatever was found of the whole errors."""
    kernel, level = gaussian(0.8)[None, None].repeat(2, axis=1), np.zeros(1)
    one, factors = ErrorCorrelation(kernel, level), np.full((1, len(APERTURE_FRACTIONS),
                                                             len(APERTURE_AREAS) - 1), 0.9)
    weights = CircularAperture((23, 25), 6).to_mask().to_image((SIDE, SIDE))
    stds = [np.full((SIDE, SIDE), std) for std in (MEASUREMENT, REST)]
    least, whole = one.sum_variance(weights, stds), one.with_component(one).sum_variance(weights,
                                                                                         stds)
    for factor, found in ((0.9, 0.81 * whole), (0.1, least), (2.0, 4 * whole)):
        rest = ErrorCorrelation(kernel, level, np.full_like(factors, factor))
        assert one.with_component(rest).sum_variance(weights, stds) == pytest.approx(found)


@pytest.mark.parametrize("amplitude, width", [("mixed", 1.5), (1.0, 2.5)])
def test_apertures_are_covered_by_errors_that_are_not_as_they_are_told(amplitude, width):
    """Some images are worse than others, or errors are correlated further than was told."""
    rng = np.random.default_rng(1)
    if amplitude == "mixed":
        amplitude = np.exp(rng.normal(0.3, 0.9, (N, 1, 1)))
    arrays, whole, snr, told = restored(rng, amplitude, width)
    factors, _ = aperture_factors(arrays, whole, snr, told, 2)
    off = {name: [] for name in ("before", "after")}
    for image in arrays["mean"] - arrays["truth"]:
        for radius in (2.0, 3.0, 5.0, 7.0, 10.0):
            weights = CircularAperture((23.0, 25.0), radius).to_mask().to_image((SIDE, SIDE))
            # Independent of what is tested: each pair of pixels by its lag, through a transform.
            spectrum = np.abs(np.fft.rfft2(weights, s=(128, 128)))**2
            lags = slice(64 - MAX_LAG, 65 + MAX_LAG)
            pairs = np.fft.fftshift(np.fft.irfft2(spectrum))[lags, lags]
            variance = MEASUREMENT**2 * (pairs * gaussian(0.8)).sum()
            variance += REST**2 * (pairs * gaussian(1.5)).sum()
            z = abs((weights * image).sum()) / np.sqrt(variance)
            off["before"].append(z)
            off["after"].append(z / aperture_sum_factor(1e-6, weights.sum(), factors))
    miss = {name: max(abs(np.mean(np.array(z) <= k) - NORMAL_COVERAGE[k - 1]) for k in (1, 2))
            for name, z in off.items()}
    assert miss["after"] < 0.7 * miss["before"]


def test_factors_of_sums_are_known_from_one_pixel_on():
    factors = np.exp(np.random.default_rng(2).normal(size=(len(APERTURE_FRACTIONS),
                                                           len(APERTURE_AREAS) - 1)))
    np.testing.assert_allclose(aperture_sum_factor(APERTURE_FRACTIONS, 1.0, factors), 1)
    for k, size in enumerate(APERTURE_AREAS[1:]):
        np.testing.assert_allclose(aperture_sum_factor(APERTURE_FRACTIONS, size, factors),
                                   factors[:, k])
    # Half-way between two, in logarithms.
    middle = np.sqrt(APERTURE_AREAS[1] * APERTURE_AREAS[2])
    np.testing.assert_allclose(aperture_sum_factor(APERTURE_FRACTIONS, middle, factors),
                               np.sqrt(factors[:, 0] * factors[:, 1]))
    np.testing.assert_allclose(interpolate_factors(([0.0, 1e9],), ((1.0, 4.0),), [2.0, 3.0]),
                               [2, 3])

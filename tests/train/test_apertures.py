"""Predicted errors of sums over apertures, made to cover the true ones."""

import numpy as np
import pytest
from photutils.aperture import CircularAperture
from scipy import ndimage

from lenssr.image._lags import LAGS, fold
from lenssr.train._apertures import inflated_for_apertures
from lenssr.train._conformal import WITHIN

N, SIDE = 100, 48
MEASUREMENT, REST = 0.6, 0.8
Y, X = np.mgrid[-LAGS:LAGS + 1, -LAGS:LAGS + 1]


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
    arrays = {"mean": error, "truth": np.zeros_like(error),
              "std": np.full_like(error, MEASUREMENT), "level": np.full(N, MEASUREMENT),
              "kernels": np.broadcast_to(gaussian(0.8), (N, 2, *X.shape)),
              "weight": np.ones((N, SIDE // 2, SIDE // 2))}
    told = {"faint": fold(gaussian(1.5)), "bright": fold(gaussian(1.5)), "variance": [1.0, 1.0]}
    return arrays, np.full_like(error, np.hypot(MEASUREMENT, REST)), np.full_like(error, 20.0), told


def test_right_errors_stay():
    arrays, whole, snr, told = restored(np.random.default_rng(0))
    found = inflated_for_apertures(arrays, whole, snr, told, 2)
    assert found["apertures"] == pytest.approx(1, abs=0.04)
    assert {**found, "apertures": 1, "variance": 1} == {**told, "apertures": 1, "variance": 1}


def test_factor_is_that_of_the_errors():
    arrays, whole, snr, told = restored(np.random.default_rng(0), 1.7)
    found = inflated_for_apertures(arrays, whole, snr, told, 2)
    assert found["apertures"] == pytest.approx(1.7, rel=0.04)
    np.testing.assert_allclose(found["variance"], found["apertures"]**2, rtol=1e-3)


@pytest.mark.parametrize("amplitude, width", [("mixed", 1.5), (1.0, 2.5)])
def test_apertures_are_covered_by_errors_that_are_not_as_they_are_told(amplitude, width):
    """Some images are worse than others, or errors are correlated further than was told."""
    rng = np.random.default_rng(1)
    if amplitude == "mixed":
        amplitude = np.exp(rng.normal(0.3, 0.9, (N, 1, 1)))
    arrays, whole, snr, told = restored(rng, amplitude, width)
    found = inflated_for_apertures(arrays, whole, snr, told, 2)
    off = {name: [] for name in ("before", "after")}
    for image in arrays["mean"]:
        for radius in (2.0, 3.0, 5.0, 7.0, 10.0):
            weights = CircularAperture((23.0, 25.0), radius).to_mask().to_image((SIDE, SIDE))
            # Independent of what is tested: each pair of pixels by its lag, through a transform.
            spectrum = np.abs(np.fft.rfft2(weights, s=(128, 128)))**2
            lags = slice(64 - LAGS, 65 + LAGS)
            pairs = np.fft.fftshift(np.fft.irfft2(spectrum))[lags, lags]
            variance = MEASUREMENT**2 * (pairs * gaussian(0.8)).sum()
            variance += REST**2 * (pairs * gaussian(1.5)).sum()
            z = abs((weights * image).sum()) / np.sqrt(variance)
            off["before"].append(z), off["after"].append(z / found["apertures"])
    miss = {name: max(abs(np.mean(np.array(z) <= k) - WITHIN[k - 1]) for k in (1, 2))
            for name, z in off.items()}
    assert miss["after"] < 0.7 * miss["before"]

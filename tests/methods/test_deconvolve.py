"""Wiener and Richardson-Lucy deconvolution against closed forms and known sources."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from lenssr.image import LensImage, gaussian_psf, oversample_psf, target_psf
from lenssr.methods import RichardsonLucy, RunOptions, Wiener, fit_spectrum
from lenssr.uncertainty import monte_carlo_error

SIGMA = 2.3548200450309493  # FWHM of a Gaussian of unit standard deviation
FAST = RichardsonLucy(n_probes=1)


def gaussian(n, fwhm, y, x):
    """Gaussian of unit sum, well sampled."""
    grid, sigma = np.arange(n), fwhm / SIGMA
    return np.exp(-((grid[:, None] - y) ** 2 + (grid - x) ** 2) / 2 / sigma**2) / (
        2 * np.pi * sigma**2
    )


def observe(truth, noise, psf, seed=0, mask=None):
    """Data with white noise."""
    data = truth + np.random.default_rng(seed).normal(0, noise, truth.shape)
    mask = np.zeros(data.shape, bool) if mask is None else mask
    return LensImage(data, np.full(data.shape, noise), mask, psf, noise)


def blob(source=2.0, psf=3.5, snr=300, n=33, y=16.3, x=15.6):
    """A Gaussian source of flux 10,000 through a Gaussian PSF."""
    truth = 1e4 * gaussian(n, np.hypot(source, psf), y, x)
    return observe(truth, truth.max() / snr, gaussian_psf(psf, 21))


def measure(image):
    """Flux, centre and FWHM of the Gaussian that fits best."""
    grid = np.arange(len(image))

    def misfit(p):
        profile = -((grid[:, None] - p[1]) ** 2 + (grid - p[2]) ** 2) / 2 / p[3] ** 2
        return (p[0] * np.exp(profile) - image).ravel()

    start = [image.max(), *np.unravel_index(image.argmax(), image.shape), 2.0]
    peak, y, x, sigma = optimize.least_squares(misfit, start, x_scale=np.abs(start)).x
    return 2 * np.pi * peak * sigma**2, y, x, abs(sigma) * SIGMA


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(
    ("method", "tolerance"), [(RichardsonLucy(n_iter=300, n_probes=1), 0.06), (Wiener(), 0.12)]
)
def test_gaussian_source_has_the_width_of_source_and_target(method, tolerance, scale):
    """A linear filter must widen what noise hides, hence its tolerance."""
    source = 3.0
    image = blob(source, psf=3.0, snr=2000)
    flux, y, x, fwhm = measure(method.restore(image, RunOptions(scale)).mean / scale**2)
    np.testing.assert_allclose(fwhm, np.hypot(scale * source, 2), rtol=tolerance)
    np.testing.assert_allclose([y, x], [scale * 16.8 - 0.5, scale * 16.1 - 0.5], atol=0.02)
    np.testing.assert_allclose(flux, 1e4, rtol=0.01)


def test_point_source_reaches_the_declared_resolution():
    """One at the centre of an output pixel, where the model can hold it."""
    image = blob(source=0, psf=3.5, snr=1000, y=16.25, x=15.75)
    flux, y, x, fwhm = measure(FAST.restore(image, RunOptions(2)).mean / 4)
    np.testing.assert_allclose(fwhm, 2, rtol=0.05)
    np.testing.assert_allclose([y, x], [33, 32], atol=0.02)
    np.testing.assert_allclose(flux, 1e4, rtol=0.01)


def test_point_source_is_sharpened_by_wiener():
    """It keeps flux and position, and is half as wide as the seven output pixels of the PSF."""
    image = blob(source=0, psf=3.5, snr=1000)
    # without the noise that it declares, which moves the centre by 0.014 pixels
    image = replace(image, data=1e4 * gaussian(33, 3.5, 16.3, 15.6))
    result = Wiener().restore(image, RunOptions(2)).mean / 4
    _, y, x, fwhm = measure(result)
    assert 2 < fwhm < 3.7
    np.testing.assert_allclose([y, x], [33.1, 31.7], atol=1e-4)
    # its faint wings reach over the edge
    np.testing.assert_allclose(result.sum(), 1e4, rtol=0.01)


def random_field(n, scale, log_power, k0, slope, seed):
    """Periodic Gaussian random field of surface brightness, and its power spectrum."""
    frequency = np.fft.fftfreq(scale * n) * scale
    k2 = np.add.outer(frequency**2, frequency**2)
    power = np.exp(log_power) * (1 + k2 / k0**2) ** (-slope / 2)
    white = np.random.default_rng(seed).normal(size=k2.shape)
    # `power` is per input pixel: an output pixel has scale^2 times the variance per frequency
    return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power * scale**2)).real, power, k2


def periodic_transfer(psf, scale, n):
    """Response of the data by evaluating the Fourier sum over the kernel's offsets."""
    kernel = oversample_psf(psf, scale) / scale**2
    offset = (np.arange(len(kernel)) + 0.5) / scale - len(psf) / 2
    wave = np.exp(-2j * np.pi * np.outer(np.fft.fftfreq(scale * n) * scale, offset))
    return wave @ kernel @ wave.T


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_wiener_reaches_the_minimum_error_of_a_random_field(noise):
    """The closed form: sum of |G|^2 S minus the part that the data determine."""
    n, scale = 160, 2
    psf = gaussian_psf(3.0, 17)
    scene, power, k2 = random_field(n, scale, 4.0, 0.05, 3.0, seed=5)
    transfer = periodic_transfer(psf, scale, n)
    # the lattice of output pixels is shifted by a quarter of an input pixel
    frequency = np.fft.fftfreq(scale * n) * scale
    position = (np.arange(scale * n) + 0.5) / scale - 0.5
    to_centre = np.exp(-2j * np.pi * frequency * position[0])
    spectrum = np.fft.fft2(scene) * np.multiply.outer(to_centre, to_centre) * transfer
    seen = spectrum.reshape(scale, n, scale, n).sum(axis=(0, 2)) / scale**2
    image = observe(np.fft.ifft2(seen).real, noise, psf)

    target = np.exp(-2 * np.pi**2 * (2 / SIGMA / scale) ** 2 * k2)
    caught = (np.abs(transfer) ** 2 * power).reshape(scale, n, scale, n).sum(axis=(0, 2)) + noise**2
    lost = target**2 * power * (1 - np.abs(transfer) ** 2 * power / np.tile(caught, (2, 2)))
    # the mean is known, as far as anything tells: the filter keeps it exactly
    minimum = np.mean(lost) * scale**2

    truth = np.fft.ifft2(np.fft.fft2(scene) * target).real
    # away from the borders, beyond which the field is periodic and the filter does not know it
    inside = slice(40 * scale, -40 * scale)
    error = (Wiener().restore(image, RunOptions(scale)).mean - truth)[inside, inside]
    np.testing.assert_allclose(np.mean(error**2), minimum, rtol=0.1)


def test_spectrum_is_recovered():
    n, scale = 256, 2
    psf = gaussian_psf(2.5, 15)
    scene, *_ = random_field(n, scale, 6.0, 0.06, 3.0, seed=6)
    transfer = periodic_transfer(psf, scale, n)
    spectrum = (np.fft.fft2(scene) * transfer).reshape(scale, n, scale, n).sum(axis=(0, 2))
    image = observe(np.fft.ifft2(spectrum / scale**2).real, 0.3, psf)
    log_power, log_k0, slope = fit_spectrum(image.data, psf, 0.09, scale)
    np.testing.assert_allclose(slope, 3, atol=0.3)
    k = np.array([0.1, 0.2])
    result = log_power - slope / 2 * np.log1p((k / np.exp(log_k0)) ** 2)
    np.testing.assert_allclose(result, 6 - 1.5 * np.log1p((k / 0.06) ** 2), atol=0.15)


def test_wiener_errors_agree_with_repeated_observations():
    """With the filter fixed; half the pixels lie where it reaches over the edge."""
    image = blob(n=46, snr=50)
    wiener = Wiener()
    wiener.spectrum = fit_spectrum(image.data, image.psf, image.noise**2, 2)
    rng, draws = np.random.default_rng(7), 200
    sigma = rng.uniform(0.5, 1.5, image.shape) * image.noise
    results = []
    for _ in range(draws):
        data = image.data + sigma * rng.normal(size=sigma.shape)
        results.append(wiener.restore(replace(image, data=data, sigma=sigma), RunOptions(2)))
    ratio = np.std([r.mean for r in results], axis=0) / results[0].measurement_std
    inside = slice(2 * 17, -2 * 17)
    np.testing.assert_allclose(np.sqrt(np.mean(ratio[inside, inside] ** 2)), 1, atol=0.03)
    assert np.all(np.abs(ratio - 1) < 5 / np.sqrt(2 * draws))


def test_probes_of_a_linear_map():
    """The variance is unbiased; its scatter is that of `n_probes` squares."""
    image = LensImage(
        np.zeros((40, 40)), np.full((40, 40), 2.0), np.zeros((40, 40), bool), None, 2.0
    )
    image.mask[:4] = True
    std, correlation = monte_carlo_error(
        lambda p: 3 * p.data, image, n_probes=50, seed=1, smooth=0)
    assert np.all(std[:4] == 0)
    variance = std[4:] ** 2 / 36
    np.testing.assert_allclose(variance.mean(), 1, atol=5 * np.sqrt(2 / 50 / variance.size))
    np.testing.assert_allclose(variance.std(), np.sqrt(2 / 50), rtol=0.1)
    again, _ = monte_carlo_error(lambda p: 3 * p.data, image, n_probes=50, seed=1, smooth=0)
    np.testing.assert_array_equal(std, again)
    lags = correlation.kernels[0, 0].copy()
    lags[24, 24] -= 1  # white noise: nothing but the middle, to the scatter of the products
    assert lags.shape == (49, 49)
    assert np.abs(lags).max() < 5.5 / np.sqrt(50 * 0.25 * 36 * 40)
    smooth, _ = monte_carlo_error(lambda p: 3 * p.data, image, n_probes=50, seed=1)
    assert smooth[10:].std() < 0.5 * std[10:].std()
    with pytest.raises(ValueError, match="`n_probes` must be a positive integer, got 0"):
        monte_carlo_error(lambda p: p.data, image, n_probes=0)


def test_richardson_lucy_errors_agree_with_repeated_observations():
    """On the source; the number of iterations is the same for all."""
    truth = 1e4 * gaussian(19, np.hypot(2, 3), 9.2, 9)
    noise, psf = truth.max() / 50, gaussian_psf(3.0, 13)
    first = observe(truth, noise, psf, seed=100)
    claimed = RichardsonLucy(n_iter=20, n_probes=16).restore(first, RunOptions(2)).measurement_std
    method = RichardsonLucy(n_iter=20, n_probes=1)
    results = [method.restore(observe(truth, noise, psf, seed=k), RunOptions(2)).mean
               for k in range(40)]
    source = np.kron(truth > truth.max() / 4, np.ones((2, 2), bool))
    ratio = claimed[source] / np.std(results, axis=0)[source]
    np.testing.assert_allclose(np.median(ratio), 1, atol=0.15)
    assert np.all((ratio > 0.5) & (ratio < 2))


def test_richardson_lucy_stops_before_it_fits_noise():
    """Later than that, the result is worse; much earlier, too."""
    image = blob(source=3, psf=4, snr=20)
    y, x = (2 * (c + 0.5) - 0.5 for c in (16.3, 15.6))
    truth = 4e4 * gaussian(66, np.hypot(6, 2), y, x)

    def error(method):
        return np.sqrt(np.mean((method.restore(image, RunOptions(2)).mean - truth) ** 2))

    selected = error(FAST)
    assert selected < 0.8 * error(RichardsonLucy(n_iter=200, n_probes=1))
    assert selected < 0.8 * error(RichardsonLucy(n_iter=1, n_probes=1))


@pytest.mark.parametrize("method", [FAST, Wiener()])
def test_tiles_change_nothing(method):
    image = blob(n=37)
    full = method.restore(image, RunOptions(2))
    for tile in (8, 20):
        tiled = method.restore(image, RunOptions(2, tile=tile))
        np.testing.assert_allclose(tiled.mean, full.mean, atol=1e-6 * image.noise)
        np.testing.assert_allclose(
            tiled.measurement_std, full.measurement_std, atol=1e-6 * image.noise
        )


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 9)])
@pytest.mark.parametrize("level", [-50.0, 0.0, 20.0])
@pytest.mark.parametrize("method", [FAST, Wiener()])
def test_constants_in_small_images(method, level, shape):
    """A sky of any level is a sky of that level, also in one pixel under a broad PSF."""
    psf = gaussian_psf(4.0, 25)
    image = LensImage(np.full(shape, level), np.ones(shape), np.zeros(shape, bool), psf, 1.0)
    result = method.restore(image, RunOptions(2))
    np.testing.assert_allclose(result.mean, level, atol=0.02)
    assert result.measurement_std.shape == result.mean.shape
    assert np.all(np.isfinite(result.measurement_std) & (result.measurement_std >= 0))


def test_masked_values_do_not_reach_richardson_lucy():
    mask = np.zeros((33, 33), bool)
    mask[15:17, 14:16] = mask[2, :] = True
    image = replace(blob(), mask=mask)
    second = replace(image, data=np.where(mask, 1e6, image.data))
    first, two = (FAST.restore(i, RunOptions(2)) for i in (image, second))
    np.testing.assert_allclose(two.mean, first.mean, rtol=1e-12)
    np.testing.assert_array_equal(first.mask, np.kron(mask, np.ones((2, 2), bool)))
    # the PSF spreads the source over its neighbours, so the hole is filled from them
    np.testing.assert_allclose(measure(first.mean)[0], 4e4, rtol=0.03)


def test_source_outside_the_frame_darkens_nothing():
    """Half a source on the edge is restored as half a source."""
    image = blob(source=3, psf=3, snr=1000, x=0.0)
    result = FAST.restore(image, RunOptions(2)).mean
    truth = 4e4 * gaussian(66, np.hypot(6, 2), 33.1, 0.5)
    np.testing.assert_allclose(result, truth, atol=0.07 * truth.max())


@pytest.mark.parametrize("method", [FAST, Wiener()])
def test_target_is_declared(method):
    result = method.restore(blob(), RunOptions(2))
    np.testing.assert_array_equal(result.psf, target_psf())
    assert result.psf_kind == "target"
    assert result.metadata and all(isinstance(key, str) for key in result.metadata)


@pytest.mark.parametrize("method", [RichardsonLucy(), Wiener()])
def test_images_that_cannot_be_deconvolved(method):
    image = blob()
    with pytest.raises(ValueError, match="`psf` must be given"):
        method.restore(replace(image, psf=None), RunOptions(2))
    with pytest.raises(ValueError, match="`mask` must leave at least one valid pixel"):
        method.restore(replace(image, mask=np.ones(image.shape, bool)), RunOptions(2))


@pytest.mark.parametrize("name", ["n_iter", "max_iter", "n_probes"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "ten"])
def test_bad_options(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer, got {value!r}"):
        RichardsonLucy(**{name: value})

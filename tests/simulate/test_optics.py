"""Optics, PSF and noise compared with closed forms."""

import numpy as np
import pytest
import torch

from lenssr.image import TARGET_FWHM, gaussian_psf, relative_kernel
from lenssr.methods import ForwardModel
from lenssr.simulate import BatchRandom, Instrument, Optics, correlate_noise, moffat, observe_batch

N, SCALE, SUBPIXELS = 96, 2, 2
SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))


def gaussian_scene(sigma, x, y, n=N):
    """A Gaussian blob of unit flux, in fine pixels."""
    axis = np.arange(n)
    blob = np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * sigma**2))
    return torch.from_numpy(blob / (2 * np.pi * sigma**2))[None]


def gaussian_optics(sigma):
    axis = torch.fft.fftfreq(N, 1 / N, dtype=torch.float64)
    psf = torch.exp(-(axis**2 + axis[:, None] ** 2) / (2 * sigma**2))
    return (psf / psf.sum())[None]


def test_constant_sky_is_the_same_in_both():
    optics = Optics(N, SCALE, SUBPIXELS)
    spectrum = optics.transform(torch.full((1, N, N), 0.25, dtype=torch.float64))
    transfer = optics.psf_transfer(gaussian_optics(5.0))
    np.testing.assert_allclose(optics.observed_image(spectrum, transfer), 0.25 * 16, rtol=1e-6)
    np.testing.assert_allclose(optics.target_image(spectrum), 0.25 * 16, rtol=1e-6)


def test_target_image_of_a_gaussian():
    # Gaussian convolved with Gaussian, at the centres of the output pixels.
    sigma, x, y = 4.0, 45.3, 50.8
    target = Optics(N, SCALE, SUBPIXELS).target_image(
        Optics(N, SCALE, SUBPIXELS).transform(gaussian_scene(sigma, x, y)))[0].numpy()
    total = np.hypot(sigma, TARGET_FWHM * SIGMA * SUBPIXELS)
    centre = SUBPIXELS * np.arange(N // SUBPIXELS) + (SUBPIXELS - 1) / 2
    oracle = np.exp(-((centre - x) ** 2 + (centre[:, None] - y) ** 2) / (2 * total**2))
    oracle *= 16 / (2 * np.pi * total**2)
    np.testing.assert_allclose(target, oracle, atol=1e-5 * oracle.max())


def test_observed_image_of_a_gaussian():
    # A Gaussian convolved with a Gaussian, integrated over input pixels: error functions.
    from scipy.special import erf

    sigma, width, x, y = 4.0, 6.0, 45.3, 50.8
    optics = Optics(N, SCALE, SUBPIXELS)
    spectrum = optics.transform(gaussian_scene(sigma, x, y))
    transfer = optics.psf_transfer(gaussian_optics(width))
    observed = optics.observed_image(spectrum, transfer)[0].numpy()
    total = np.sqrt(sigma**2 + width**2)
    edges = 4 * np.arange(N // 4 + 1) - 0.5
    along_x, along_y = (np.diff(erf((edges - c) / total / np.sqrt(2))) / 2 for c in (x, y))
    oracle = along_y[:, None] * along_x
    np.testing.assert_allclose(observed, oracle, atol=1e-4 * oracle.max())


def test_point_source_between_pixels():
    # A point source at the target resolution is a Gaussian.
    optics = Optics(N, SCALE, SUBPIXELS)
    point = optics.target_image(optics.transform(
        torch.zeros(1, N, N, dtype=torch.float64),
        torch.tensor([[[45.3, 50.8, 2.0]]], dtype=torch.float64)))[0].numpy()
    centre = SUBPIXELS * np.arange(N // SUBPIXELS) + (SUBPIXELS - 1) / 2
    width = TARGET_FWHM * SIGMA * SUBPIXELS
    oracle = np.exp(-((centre - 45.3) ** 2 + (centre[:, None] - 50.8) ** 2) / (2 * width**2))
    np.testing.assert_allclose(point, 2 * 16 * oracle / (2 * np.pi * width**2), atol=2e-4)


def test_effective_psf_is_the_image_of_a_point_source():
    # A star at the centre of an input pixel.
    optics = Optics(N, SCALE, SUBPIXELS)
    transfer = optics.psf_transfer(gaussian_optics(5.0))
    star = torch.tensor([[[4 * 12 + 1.5, 4 * 12 + 1.5, 1.0]]], dtype=torch.float64)
    spectrum = optics.transform(torch.zeros(1, N, N, dtype=torch.float64), star)
    observed = optics.observed_image(spectrum, transfer)[0].numpy()
    psf = optics.effective_psf(transfer)[0].numpy()
    assert psf.shape == (23, 23)
    # They differ by the flux beyond the kernel, and by the response of the fine pixel, which the
    # PSF of scenes includes and a star has not.
    np.testing.assert_allclose(observed[1:24, 1:24], psf, atol=5e-4 * psf.max())


def test_moffat_has_its_fwhm_and_area():
    parameters = (torch.tensor([12.0]), torch.tensor([3.0]), torch.tensor([0.1]),
                  torch.tensor([-0.05]))
    profile = moffat(256, *parameters)[0].numpy()
    assert profile.sum() == pytest.approx(1, abs=1e-6)
    above = (profile > profile.max() / 2).sum()
    assert np.sqrt(above * 4 / np.pi) == pytest.approx(12.0, rel=0.02)


@pytest.mark.parametrize("scale, beta", [(2, 2.2), (3, 3.0), (4, 60.0)])
def test_effective_psf_contains_the_wings(scale, beta):
    """The target image convolved with the effective PSF is the observed image."""
    fine = SUBPIXELS if scale < 4 else 1
    side = 48 * scale * fine
    optics = Optics(side, scale, fine)
    scene = torch.zeros(1, side, side, dtype=torch.float64)
    y, x = torch.meshgrid(*2 * [torch.arange(side, dtype=torch.float64)], indexing="ij")
    r2 = (x - 0.48 * side) ** 2 + (y - 0.53 * side) ** 2
    scene[0] = torch.exp(-r2 / 2 / (1.5 * scale * fine) ** 2)
    instrument = Instrument(seeing=(0.9, 0.9), beta=(beta, beta), snr=(1e9, 1e9))
    observed = observe_batch(instrument, optics, scene, torch.zeros(1, 1, 3, dtype=torch.float64),
                             BatchRandom(torch.Generator().manual_seed(0), 1))
    psf = optics.effective_psf(observed.transfer)[0].double().numpy()
    assert psf.shape == (31, 31) and psf[0].max() < 1e-4 * psf.max()
    model = ForwardModel(psf, scale, (48, 48)).forward(observed.hr[0].double().numpy())
    expected = observed.clean[0].double().numpy()
    np.testing.assert_allclose(model, expected, atol=1e-3 * expected.max())


def test_grid_that_does_not_divide():
    with pytest.raises(ValueError, match="`n` must be a multiple of 4, got 98"):
        Optics(98, 2, 2)


@pytest.mark.parametrize("width", [0.4, 0.8])
def test_correlated_noise(width):
    white = torch.randn(400, 32, 32, generator=torch.Generator().manual_seed(0))
    noise = correlate_noise(white, torch.full((400,), width)).numpy()
    assert noise.std() == pytest.approx(1, rel=0.01)
    lag = (noise[:, :, 1:] * noise[:, :, :-1]).mean()
    # Oracle: the power spectrum of a Gaussian, cut at the Nyquist frequency.
    f = np.fft.fftfreq(32)
    power = np.exp(-4 * np.pi**2 * width**2 * f**2)
    oracle = (power * np.cos(2 * np.pi * f)).sum() / power.sum()
    assert lag == pytest.approx(oracle, abs=0.01)


def test_noise_is_as_declared():
    optics = Optics(N, SCALE, SUBPIXELS)
    scenes = gaussian_scene(8.0, 47.5, 47.5).float().repeat(2000, 1, 1)
    observed = observe_batch(Instrument(snr=(50, 50), depth=(30, 30)), optics, scenes,
                             torch.zeros(2000, 1, 3),
                             BatchRandom(torch.Generator().manual_seed(0), 2000))
    pull = (observed.lr - observed.clean) / observed.sigma
    assert pull.std().item() == pytest.approx(1, rel=0.005)
    sky = observed.sky_rms.reshape(-1, 1, 1)
    np.testing.assert_allclose(observed.clean.amax(dim=(1, 2)), 50 * observed.sky_rms, rtol=1e-5)
    # Poisson: the variance in electrons is the sum of the sky variance and the signal.
    electrons = observed.clean / sky * 30
    np.testing.assert_allclose((observed.sigma / sky * 30) ** 2, 900 + electrons.clamp(min=0),
                               rtol=1e-4)


def test_target_kernel_is_the_target_image_of_a_star():
    optics = Optics(N, SCALE, SUBPIXELS)
    position = 2 * 24 + 0.5
    star = torch.tensor([[[position, position, 1 / 16]]], dtype=torch.float64)
    target = optics.target_image(optics.transform(torch.zeros(1, N, N, dtype=torch.float64), star))
    kernel = gaussian_psf(TARGET_FWHM, 11)
    image = target[0, 19:30, 19:30].numpy() * 4
    np.testing.assert_allclose(image, kernel, atol=1e-4 * kernel.max())


@pytest.mark.parametrize("scale, fine", [(2, 2), (3, 2), (4, 1)])
def test_relative_kernel_agrees_with_the_effective_psf(scale, fine):
    """Kernels from transfer functions agree with kernels from images of the PSF."""
    optics = Optics(36 * scale * fine, scale, fine)
    width, step = torch.tensor([3.0, 4.5]), scale * fine
    transfer = optics.psf_transfer(moffat(optics.n, width * step, torch.tensor([3.0, 9.0]),
                                          torch.tensor([0.05, 0.0]), torch.tensor([0.0, -0.04])))
    kernels = optics.relative_kernel(transfer).numpy()
    for kernel, psf in zip(kernels, optics.effective_psf(transfer).numpy()):
        expected = relative_kernel(psf, scale)
        assert kernel.shape == expected.shape
        np.testing.assert_allclose(kernel, expected, atol=1e-3 * expected.max())

"""Samplers and noise levels against Gaussian skies, whose posterior is known in closed form."""

import numpy as np
import pytest
import torch

from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import (
    SAMPLERS,
    check_schedule,
    draw,
    dynamic_schedule,
    latent_spectrum,
    spread_gain,
    static_schedule,
)

SIDE, DRAWS = 8, 3000
# As many steps as leave an error below that of the draws.
STEPS = {"dpm": 64, "ddim": 500, "ddpm": 250}


@pytest.fixture(scope="module")
def posterior():
    """Mean and covariance of a blurred and binned Gaussian random field, given noisy data."""
    rng = np.random.default_rng(1)
    y, x = np.divmod(np.arange(SIDE**2), SIDE)
    distance2 = (y - y[:, None])**2 + (x - x[:, None])**2
    prior = np.exp(-distance2 / 2 / 1.2**2) + 0.05 * np.eye(SIDE**2)
    blur = np.exp(-distance2 / 2 / 1.0**2)
    blur /= blur.sum(1, keepdims=True)
    cells = (y // 2 == np.repeat(np.arange(SIDE // 2), SIDE // 2)[:, None]) & (
        x // 2 == np.tile(np.arange(SIDE // 2), SIDE // 2)[:, None])
    operator = cells / 4 @ blur
    data = operator @ rng.multivariate_normal(np.zeros(SIDE**2), prior) + 0.3 * rng.normal(
        size=SIDE**2 // 4)
    gain = prior @ operator.T @ np.linalg.inv(operator @ prior @ operator.T + 0.09 * np.eye(
        SIDE**2 // 4))
    return gain @ data, prior - gain @ operator @ prior


def drawn(posterior, sampler, levels, seed=0):
    """Draws by the exact denoiser."""
    mean, covariance = (torch.from_numpy(part) for part in posterior)
    generator = torch.Generator().manual_seed(seed)
    eye = torch.eye(len(mean), dtype=torch.float64)

    def denoise(latent, level):
        return mean + (latent - mean) @ torch.linalg.solve(covariance + level**2 * eye, covariance)

    def fresh(step):
        return torch.randn(DRAWS, len(mean), generator=generator, dtype=torch.float64)

    return draw(sampler, levels, denoise, fresh(None), fresh).numpy()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_closed_form(posterior, sampler):
    mean, covariance = posterior
    samples = drawn(posterior, sampler, np.geomspace(300, 0.005, STEPS[sampler]))
    error = np.linalg.solve(covariance, samples.mean(0) - mean) @ (samples.mean(0) - mean) * DRAWS
    # Chi-squared of as many degrees of freedom as there are pixels, and four times its scatter.
    assert error < len(mean) + 4 * np.sqrt(2 * len(mean))
    result = np.cov(samples.T)
    assert np.abs(np.diag(result) / np.diag(covariance) - 1).max() < 4.5 * np.sqrt(2 / DRAWS)
    # Of all directions, the badly determined ones and the well determined ones.
    values, vectors = np.linalg.eigh(covariance)
    ratio = np.einsum("ik,ij,jk->k", vectors, result, vectors) / values
    assert np.abs(ratio - 1).max() < 4.5 * np.sqrt(2 / DRAWS)


def test_few_steps_agree_with_many(posterior):
    few = drawn(posterior, "dpm", np.geomspace(60, 0.01, 28), seed=1)
    full = drawn(posterior, "ddpm", np.geomspace(60, 0.01, 400), seed=2)
    std = full.std(0)
    assert np.abs(few.mean(0) - full.mean(0)).max() < 4.5 * std.max() * np.sqrt(2 / DRAWS)
    assert abs(few.std(0).mean() / std.mean() - 1) < 0.015


def test_gain_agrees_with_samples():
    # One direction, with nothing but the sampler between start and end.
    variance, levels = 0.3, [10.0, 1.0, 0.4, 0.1]
    for sampler, first in (("dpm", False), ("ddim", True)):
        end = draw(sampler, levels, lambda x, s: x * variance / (variance + s**2),
                   torch.ones(1, dtype=torch.float64), None)
        assert np.isclose(end.item() / np.sqrt(variance), spread_gain(levels, variance, first))


@pytest.mark.parametrize("levels", [[1.0], [1.0, 2.0], [1.0, 1.0], [1.0, 0.0], [2.0, np.nan],
                                    "fast", None, [[2.0, 1.0]]])
def test_levels_must_decrease(levels):
    with pytest.raises(ValueError, match="`schedule` must be 'dynamic', 'static' or at least two"):
        check_schedule(levels)


def image(fwhm):
    empty = np.zeros((32, 32))
    return LensImage(empty, empty + 1, empty > 1, gaussian_psf(fwhm), 1.0)


@pytest.mark.parametrize("fwhm,snr,correlation", [(3, 5, 0.0), (4, 50, 0.3), (5, 500, 0.6)])
def test_levels_of_an_image(fwhm, snr, correlation):
    variance = latent_spectrum(image(fwhm), 2, 4, snr, correlation)
    assert variance.mean() == pytest.approx(1)
    levels = dynamic_schedule(variance)
    check_schedule(levels)
    seen = variance[variance > 0.01]
    loss = np.abs(spread_gain(levels, seen) - 1).mean()
    assert loss < 0.01 and len(levels) < 16
    # Of as many steps, about as good as the best of fixed ones.
    assert loss < 1.3 * np.abs(spread_gain(static_schedule(len(levels)), seen) - 1).mean()


def test_faint_images_take_fewer_steps():
    few, many = (dynamic_schedule(latent_spectrum(image(4), 2, 4, snr, 0.0)) for snr in (5, 500))
    assert len(few) < len(many)
    assert len(dynamic_schedule(latent_spectrum(image(4), 2, 4, 50, 0.0), steps=7)) == 7


def test_spectrum_of_the_field():
    # White errors stay white, whatever the basis of the cells.
    from lenssr.methods import latent_variances

    assert np.allclose(latent_variances(np.full((32, 32), 3.0), 4), 1)
    # One wave: all variance in the directions of its cells.
    power = np.full((32, 32), 1e-12)
    power[2, 3] = power[-2, -3] = 1.0
    result = latent_variances(power, 4)
    assert result[:2].sum() > 0.999 * result.sum()

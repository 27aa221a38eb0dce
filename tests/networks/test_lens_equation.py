"""Lens equation network: guesses, chi2 and training without targets."""

import numpy as np
import pytest
import torch

from lenssr.image import relative_kernel
from lenssr.lensing import SceneGrid
from lenssr.networks import LOG_RADIUS_RANGE, asinh_scale, build_network
from lenssr.train import RESIDUAL_LOSS, Batch, Recipe, ResidualTrainer, Training


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network("lens_equation", scale=[2, 3], guesses=3, features=8).eval()


def kernels(scale=2):
    offset = np.arange(9) - 4
    psf = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / 1.5**2)
    kernel = torch.from_numpy(relative_kernel(psf / psf.sum(), scale)).float()
    return kernel[None].repeat(2, 1, 1)


def scene(network, radius=5.0):
    """Parameters of a lens and its galaxy, and their image."""
    values = torch.tensor([np.log(radius), 2.0, 0.1, 0.0, 0.3, -0.2, 0.02, 0.0,
                           0.3, -0.2, 1.0, 0.7, 0.1, 0.0,
                           1.3, 0.5, 0.3, 0.2, 0.0, 0.1]).float().repeat(2, 1, 1)
    grid = SceneGrid((24, 24), 2, 1, kernels())
    amplitudes = torch.tensor([4.0, 9.0]).reshape(1, 1, 2, 1, 1)
    image = grid.to_target((network.scene(values, grid) * amplitudes).sum(dim=2))
    return values, grid.observe(image), grid.trim(image), grid


def test_chi2_of_the_true_parameters(network):
    values, data, expected, grid = scene(network)
    chi2, image = network.evaluate(values, data, torch.ones_like(data), grid)
    assert chi2.max() < 1e-3
    torch.testing.assert_close(image, expected, rtol=1e-2, atol=2e-2)
    higher, _ = network.evaluate(scene(network, 5.5)[0], data, torch.ones_like(data), grid)
    assert (higher > 10 * chi2 + 0.01).all()


def test_gradient_agrees_with_differences(network):
    values, data, _, grid = scene(network)
    wrong = values.clone()
    wrong[..., 0] += 0.05
    wrong.requires_grad_()
    chi2, _ = network.evaluate(wrong, data, torch.ones_like(data), grid)
    gradient, = torch.autograd.grad(chi2.sum(), wrong)
    # Finite difference in the Einstein radius, with the amplitudes solved for.
    step = torch.zeros_like(values)
    step[..., 0] = 1e-3
    more, less = (network.evaluate(wrong.detach() + sign * step, data, torch.ones_like(data),
                                   grid)[0].sum() for sign in (1, -1))
    assert gradient[..., 0].sum() == pytest.approx(float(more - less) / 2e-3, rel=0.05)
    assert gradient[..., 0].sum() > 0


@pytest.mark.parametrize("scale", [2, 3])
def test_one_network_for_all_scales(network, scale):
    x = asinh_scale(torch.randn(2, 1, 24, 24))
    with torch.no_grad():
        image = network(x, torch.ones_like(x), kernels(scale), torch.zeros(2), scale)
    assert image.shape == (2, 1, 24 * scale, 24 * scale)
    assert image.isfinite().all()


def test_guesses_cover_the_radii(network):
    x = asinh_scale(torch.randn(2, 1, 24, 24))
    with torch.no_grad():
        values, scores = network.guess(x, torch.ones_like(x), torch.full((2,), 2.5))
    radii, width = values[..., 0], (LOG_RADIUS_RANGE[1] - LOG_RADIUS_RANGE[0]) / 3
    assert scores.shape == (2, 3)
    for k in range(3):
        assert (radii[:, k] > LOG_RADIUS_RANGE[0] + (k - 0.1) * width - 1e-5).all()
        assert (radii[:, k] < LOG_RADIUS_RANGE[0] + (k + 1.1) * width + 1e-5).all()


def test_bad_pixels_do_not_count(network):
    values, data, _, grid = scene(network)
    sigma, corrupted = torch.ones_like(data), data.clone()
    corrupted[..., 5:8, 9:12] = 1e4
    sigma[..., 5:8, 9:12] = torch.inf
    chi2, _ = network.evaluate(values, corrupted, sigma, grid)
    assert chi2.max() < 1e-3


def test_training_without_targets(tmp_path):
    class Distributed:
        device, rank, world, first = torch.device("cpu"), 0, 1, True

        @staticmethod
        def parallel(network):
            return network

        @staticmethod
        def mean(value):
            return value

    recipe = Recipe("a", {"architecture": "lens_equation", "scale": 2, "guesses": 2,
                          "features": 8}, training=Training(loss=RESIDUAL_LOSS, steps=5))
    trainer = ResidualTrainer(recipe, tmp_path, Distributed())
    lr, hr = torch.randn(2, 1, 24, 24), torch.full((2, 1, 48, 48), torch.nan)
    batch = Batch(lr, hr, None, hr, [0, 1], (torch.ones_like(lr), kernels(), torch.zeros(2)))
    assert torch.isfinite(trainer.loss(batch))

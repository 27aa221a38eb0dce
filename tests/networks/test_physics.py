"""The observation in torch: the operator of the methods, its transpose, its gradient."""

import numpy as np
import pytest
import torch

from lenssr.image import relative_kernel
from lenssr.methods import BatchForwardModel, ForwardModel

SHAPES = [(1, 1), (2, 3), (17, 30)]


def operators(scale, shape, size=(7, 9)):
    rng = np.random.default_rng(5)
    y, x = (np.arange(n) - n // 2 for n in size)
    psfs = [np.exp(-(y[:, None] ** 2 + (x - shift) ** 2) / 4) + 0.01 * rng.random(size)
            for shift in (0.0, 0.4)]
    kernels = torch.stack([torch.from_numpy(relative_kernel(p, scale)) for p in psfs])
    return [ForwardModel(p, scale, shape) for p in psfs], BatchForwardModel(kernels, scale, shape)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_is_that_of_the_methods(scale, shape):
    expected, observation = operators(scale, shape)
    rng = np.random.default_rng(6)
    fine = rng.normal(size=(2, 1, *(scale * n for n in shape)))
    coarse = rng.normal(size=(2, 1, *shape))
    seen = observation.forward(torch.from_numpy(fine)).numpy()
    back = observation.adjoint(torch.from_numpy(coarse)).numpy()
    for k, operator in enumerate(expected):
        np.testing.assert_allclose(seen[k, 0], operator.forward(fine[k, 0]), atol=1e-13)
        np.testing.assert_allclose(back[k, 0], operator.adjoint(coarse[k, 0]), atol=1e-13)


def test_gradient_is_the_transpose():
    _, observation = operators(2, (9, 12))
    image = torch.randn(2, 1, 18, 24, dtype=torch.float64, requires_grad=True)
    data = torch.randn(2, 1, 9, 12, dtype=torch.float64)
    (observation.forward(image) * data).sum().backward()
    torch.testing.assert_close(image.grad, observation.adjoint(data))

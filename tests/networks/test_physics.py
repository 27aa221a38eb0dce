"""Batched forward model in torch: agreement with the numpy model, adjoint, gradient."""

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
def test_agrees_with_the_numpy_model(scale, shape):
    references, model = operators(scale, shape)
    rng = np.random.default_rng(6)
    fine = rng.normal(size=(2, 1, *(scale * n for n in shape)))
    coarse = rng.normal(size=(2, 1, *shape))
    data = model.forward(torch.from_numpy(fine)).numpy()
    image = model.adjoint(torch.from_numpy(coarse)).numpy()
    for k, reference in enumerate(references):
        np.testing.assert_allclose(data[k, 0], reference.forward(fine[k, 0]), atol=1e-13)
        np.testing.assert_allclose(image[k, 0], reference.adjoint(coarse[k, 0]), atol=1e-13)


def test_gradient_is_the_adjoint():
    _, model = operators(2, (9, 12))
    image = torch.randn(2, 1, 18, 24, dtype=torch.float64, requires_grad=True)
    data = torch.randn(2, 1, 9, 12, dtype=torch.float64)
    (model.forward(image) * data).sum().backward()
    torch.testing.assert_close(image.grad, model.adjoint(data))

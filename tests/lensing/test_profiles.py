"""Deflection and light profiles: agreement with lenstronomy, and derivatives."""

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel

from lenssr.image import relative_kernel
from lenssr.lensing import (
    SceneGrid,
    SplinePotential,
    deflection,
    deflection_derivatives,
    series_terms,
    sersic_derivatives,
    sersic_profile,
)
from lenssr.methods import ForwardModel

LENS = torch.tensor([[np.log(7.0), 2.2, 0.2, -0.15, 0.7, -0.4, 0.03, -0.05],
                     [np.log(3.0), 1.8, -0.3, 0.25, -1.1, 0.3, -0.08, 0.02],
                     [np.log(5.0), 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
LIGHT = torch.tensor([[0.7, -0.4, np.log(3.0), np.log(2.5), 0.1, 0.2],
                      [-2.0, 1.0, 0.0, 0.0, -0.3, 0.1]], dtype=torch.float64)
X = torch.linspace(-15.3, 15.9, 41, dtype=torch.float64)[None, :]
Y = torch.linspace(-14.8, 15.6, 37, dtype=torch.float64)[:, None]


def flat():
    x, y = torch.broadcast_tensors(X, Y)
    return x.numpy().ravel(), y.numpy().ravel()


@pytest.mark.parametrize("dtype, accuracy", [(torch.float64, 1e-5), (torch.float32, 1e-4)])
def test_deflection_agrees_with_lenstronomy(dtype, accuracy):
    model = LensModel(["EPL", "SHEAR"])
    for params in LENS:
        log_radius, gamma, e1, e2, x, y, g1, g2 = params.tolist()
        true = model.alpha(*flat(), [
            dict(theta_E=np.exp(log_radius), gamma=gamma, e1=e1, e2=e2, center_x=x, center_y=y),
            dict(gamma1=g1, gamma2=g2, ra_0=0, dec_0=0)])
        result = deflection(X.to(dtype), Y.to(dtype), params.to(dtype))
        for alpha, expected in zip(result, true):
            assert np.abs(alpha.numpy().ravel() - expected).max() < accuracy


def test_fewer_series_terms_for_rounder_lenses():
    full = deflection(X, Y, LENS[:1], 40)[0]
    assert series_terms(LENS[:1]) < 12
    assert (deflection(X, Y, LENS[:1], series_terms(LENS[:1]))[0] - full).abs().max() < 1e-4


def test_light_agrees_with_lenstronomy():
    for light in LIGHT:
        x, y, log_radius, log_n, e1, e2 = light.tolist()
        true = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(*flat(), [
            dict(amp=1.0, R_sersic=np.exp(log_radius), n_sersic=np.exp(log_n), e1=e1, e2=e2,
                 center_x=x, center_y=y)])
        result = sersic_profile(X, Y, light).numpy().ravel()
        np.testing.assert_allclose(result, true, rtol=2e-3, atol=1e-6)


def test_derivatives_of_deflection():
    alpha, derivatives = deflection_derivatives(X, Y, LENS, 40)
    values = torch.stack(deflection(X, Y, LENS, 40))
    torch.testing.assert_close(torch.stack([alpha.real, alpha.imag]), values)
    # The derivatives in the ellipticity have a cusp for round lenses.
    for k in range(8):
        step = torch.zeros(8, dtype=torch.float64)
        step[k] = 1e-6
        change = (torch.stack(deflection(X, Y, LENS[:2] + step, 40))
                  - torch.stack(deflection(X, Y, LENS[:2] - step, 40))) / 2e-6
        for component, expected in zip((derivatives[k, :2].real, derivatives[k, :2].imag), change):
            torch.testing.assert_close(component, expected, rtol=1e-5, atol=1e-5)


def test_derivatives_of_light():
    values, derivatives = sersic_derivatives(X, Y, LIGHT)
    torch.testing.assert_close(values, sersic_profile(X, Y, LIGHT))
    for k in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[k] = 1e-6
        change = (sersic_profile(X, Y, LIGHT + step) - sersic_profile(X, Y, LIGHT - step)) / 2e-6
        torch.testing.assert_close(derivatives[k], change, rtol=1e-5, atol=1e-6)


def test_deflection_of_the_spline_potential_is_its_gradient():
    potential = SplinePotential((0.4, -0.7), 2.3, 7)
    c = torch.from_numpy(np.random.default_rng(0).normal(size=49))
    x, y, h = X.ravel(), Y.ravel(), 1e-5
    ax, ay = potential.deflect(x, y, c)
    by_x = (potential.value(x + h, y, c) - potential.value(x - h, y, c)) / (2 * h)
    by_y = (potential.value(x, y + h, c) - potential.value(x, y - h, c)) / (2 * h)
    torch.testing.assert_close(ax, by_x, rtol=0, atol=1e-8)
    torch.testing.assert_close(ay, by_y, rtol=0, atol=1e-8)
    assert ax.abs().max() > 0.1
    for basis, total in zip(potential.derivatives(x, y), (ax, ay)):
        torch.testing.assert_close(torch.einsum("k,kyx->yx", c, basis), total)


@pytest.mark.parametrize("scale", [2, 3])
def test_grid_agrees_with_the_forward_model(scale):
    offset = np.arange(9) - 4
    psf = np.exp(-0.5 * (offset[:, None] ** 2 + 1.3 * offset**2) / 1.5**2)
    psf /= psf.sum()
    kernel = torch.from_numpy(relative_kernel(psf, scale))[None]
    grid = SceneGrid((20, 24), scale, 2, kernel)
    # A galaxy well inside the frame, so that the treatment of the edges does not matter.
    light = sersic_profile(grid.x, grid.y, torch.tensor([[1.0, -2.0, 0.3, -0.4, 0.1, 0.0]],
                                                        dtype=torch.float64))
    image = grid.to_target(light)
    inner = grid.trim(image)[0].numpy()
    assert inner.shape == (20 * scale, 24 * scale)
    expected = ForwardModel(psf, scale, (20, 24)).forward(inner)
    result = grid.observe(image[None])[0, 0].numpy()
    np.testing.assert_allclose(result, expected, atol=1e-6 * expected.max())
    # Surface brightness is conserved.
    ones = grid.trim(grid.to_target(torch.ones_like(light)))[0]
    assert (ones - 1).abs().max() < 1e-4


def test_point_has_the_target_resolution():
    kernel = torch.ones(1, 2, 2, dtype=torch.float64)
    grid = SceneGrid((16, 16), 2, 2, kernel)
    position = torch.tensor([0.3], dtype=torch.float64)
    profile = grid.point_profile("x", position)[0]
    assert float(profile.sum()) / 2 == pytest.approx(1.0, abs=1e-3)
    h = 1e-6
    change = (grid.point_profile("x", position + h) - grid.point_profile("x", position - h)) / (2
                                                                                                * h)
    torch.testing.assert_close(grid.point_derivative("x", position), change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wings_of_the_target_psf_are_not_denormal(dtype):
    grid = SceneGrid((40, 40), 2, 1, torch.ones(1, 2, 2, dtype=dtype))
    for blur in grid.blur:
        weights = blur[blur != 0]
        assert blur.dtype == dtype and 0 < len(weights) < blur.numel()
        # An image is convolved along both axes, so squares must not be denormal, either.
        assert weights.min() ** 2 > torch.finfo(dtype).tiny
        assert float(blur[len(blur) // 2].sum()) == pytest.approx(1, abs=1e-3)

"""Images of point sources: closed forms, and the analytical solver of lenstronomy."""

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

from lenssr.lensing import image_positions
from lenssr.simulate import Grid, Population, SceneModel, ray_shooting

GRID = Grid(160, 0.05)


def solve(scene, x, y):
    trace = ray_shooting(scene)
    beta = [b.reshape(GRID.n, GRID.n) for b in trace(*GRID.coordinates())]
    return image_positions(trace, GRID, beta, x, y)


@pytest.mark.parametrize("seed", range(30))
def test_images_agree_with_the_analytical_solver(seed):
    scene = Population(scene_fractions=(0, 0, 1, 0, 0, 0)).draw(np.random.default_rng([2, seed]))
    source = scene.quasar["x"], scene.quasar["y"]
    x, y, magnification = solve(scene, *source)
    # All positions solve the lens equation.
    np.testing.assert_allclose(np.stack(ray_shooting(scene)(x, y)).T, [source] * len(x), atol=1e-7)
    lens = LensModel(scene.lens_models)
    np.testing.assert_allclose(magnification, lens.magnification(x, y, scene.lens_kwargs),
                               rtol=1e-4)
    with np.errstate(all="ignore"):  # lenstronomy evaluates the centre of the lens
        ox, oy = LensEquationSolver(lens).image_position_from_source(
            *source, scene.lens_kwargs, solver="analytical", magnification_limit=1e-2)
    inside = np.maximum(np.abs(ox), np.abs(oy)) < 4
    oracle = np.stack([ox[inside], oy[inside]], axis=1)
    bright = np.abs(magnification) > 1e-2
    images = np.stack([x[bright], y[bright]], axis=1)
    assert len(images) == len(oracle) >= 1
    distance = np.hypot(*(images[:, None] - oracle[None]).transpose(2, 0, 1))
    assert (distance.min(axis=1) < 1e-5).all() and (distance.min(axis=0) < 1e-5).all()


def test_point_mass_has_two_images():
    scene = SceneModel("quasar", ["POINT_MASS"], [dict(theta_E=1.0, center_x=0.011, center_y=0.0)])
    x, y, magnification = solve(scene, 0.511, 0.0)
    # theta = (beta +- sqrt(beta^2 + 4 theta_E^2)) / 2.
    theta = (0.5 + np.array([-1, 1]) * np.sqrt(0.25 + 4)) / 2
    np.testing.assert_allclose(np.sort(x) - 0.011, theta, atol=1e-8)
    np.testing.assert_allclose(y, 0, atol=1e-8)
    np.testing.assert_allclose(magnification[np.argsort(x)], 1 / (1 - theta**-4.0), rtol=1e-6)


def test_distant_line_of_mass_acts_as_a_point():
    line = dict(theta_E=1.0, x1=-0.02, y1=0.0, x2=0.02, y2=0.0)
    line_images = solve(SceneModel("quasar", ["LINE_MASS"], [line]), 0.5, 0.1)
    point_images = solve(SceneModel("quasar", ["POINT_MASS"],
                                    [dict(theta_E=1.0, center_x=0.0, center_y=0.0)]), 0.5, 0.1)
    outer = np.hypot(*line_images[:2]) > 0.5
    assert outer.sum() == 2
    for a, b in zip(line_images, point_images):
        np.testing.assert_allclose(np.sort(a[outer]), np.sort(b), atol=2e-3)


def test_solution_is_reproducible():
    scene = Population(scene_fractions=(0, 0, 1, 0, 0, 0)).draw(np.random.default_rng(5))
    first, again = (solve(scene, 0.1, 0.2) for _ in range(2))
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    # No image lies within the field.
    assert [len(v) for v in solve(scene, 30.0, 0.0)] == [0, 0, 0]

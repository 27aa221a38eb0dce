"""Random fields of mass: convergence, conserved mass of the lens, and both engines."""

import numpy as np
import pytest
import torch

from lenssr.simulate import (
    Grid,
    LensPlane,
    Population,
    RandomField,
    SceneModel,
    add_substructure,
    draw_model,
    ray_shooting,
    render,
    render_batch,
)

PLANE = LensPlane(1.2, 0.1, -0.05, 0.5, 1.0, None)


def mean_outward_deflection(scene, x, y, radius):
    """Mean over a ring of 4096 points."""
    angle = 2 * np.pi * np.arange(4096) / 4096
    cos, sin = np.cos(angle), np.sin(angle)
    beta_x, beta_y = ray_shooting(scene)(x + radius * cos, y + radius * sin)
    return np.mean((x + radius * cos - beta_x) * cos + (y + radius * sin - beta_y) * sin)


def test_convergence_has_the_rms_that_was_drawn_and_no_curl():
    prior = RandomField(rms=(0.1, 0.1), waves=200)
    axis = np.linspace(-6, 6, 600)
    x, y = np.meshgrid(axis, axis)
    rms = []
    for seed in range(4):
        _, models, kwargs = prior.draw(np.random.default_rng(seed), PLANE)
        beta_x, beta_y = ray_shooting(SceneModel("lens", models, kwargs))(x, y)
        step = axis[1] - axis[0]
        (axy, axx), (ayy, ayx) = np.gradient(x - beta_x, step), np.gradient(y - beta_y, step)
        inner = slice(2, -2)
        kappa = ((axx + ayy) / 2)[inner, inner]
        # The finite differences alone cause the remaining rotation.
        assert np.abs(axy - ayx)[inner, inner].max() < 2e-2 * np.abs(axx).max()
        rms.append(kappa.std())
        assert set(models) == {"WAVE"}
    assert np.mean(rms) == pytest.approx(0.1, rel=0.1)


def test_round_lens_keeps_its_mass_exactly():
    smooth = dict(theta_E=1.2, gamma=2.0, e1=0.0, e2=0.0, center_x=0.1, center_y=-0.05)
    scene = SceneModel("lens", ["EPL"], [smooth])
    add_substructure(scene, RandomField(rms=(0.02, 0.02)), 0.5, 1.0, np.random.default_rng(3))
    assert scene.lens_kwargs[0]["theta_E"] != 1.2
    assert mean_outward_deflection(scene, 0.1, -0.05, 1.2) == pytest.approx(1.2, abs=1e-10)


def test_a_lens_keeps_its_mass_and_both_engines_agree():
    population = Population(scene_fractions=(1, 0, 0, 0, 0, 0), lens_light=0, clumpy=0,
                            neighbours=0)
    scene, smooth = (draw_model(population, 5, 2, prior) for prior in (RandomField(), None))
    plane = scene.substructure.plane
    assert scene.substructure.name == "random"
    with_field, without = (mean_outward_deflection(model, plane.x, plane.y, plane.theta_e)
                           for model in (scene, smooth))
    assert with_field == pytest.approx(without, abs=2e-3)
    grid = Grid(96, 0.06)
    image, _ = render(scene, grid)
    torch_image, _ = render_batch([scene], grid, dtype=torch.float64)
    assert np.abs(torch_image[0].numpy() - image).max() < 1e-6 * image.max()


@pytest.mark.parametrize("options", [{"rms": (0.3, 0.1)}, {"wavelengths": (0, 1)},
                                     {"slope": (2, 1)}, {"waves": -1}])
def test_impossible_ranges(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        RandomField(**options)

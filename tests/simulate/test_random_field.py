"""Random fields of mass: their convergence, their place in a lens, and both engines alike."""

import numpy as np
import pytest
import torch

from lenssr.simulate import (
    Grid,
    LensPlane,
    Population,
    RandomField,
    draw_model,
    ray_shooting,
    render,
    render_batch,
    wave_deflection,
    wave_mass,
)

PLANE = LensPlane(1.2, 0.1, -0.05, 0.5, 1.0, None)


def total(function, kwargs, *args):
    return sum(np.array(function(*args, kw)) for kw in kwargs)


def test_convergence_has_the_rms_that_was_drawn_and_no_curl():
    prior = RandomField(rms=(0.1, 0.1), waves=200)
    axis = np.linspace(-6, 6, 600)
    x, y = np.meshgrid(axis, axis)
    found = []
    for seed in range(4):
        _, models, kwargs = prior.draw(np.random.default_rng(seed), PLANE)
        ax, ay = total(wave_deflection, kwargs, x, y)
        step = axis[1] - axis[0]
        (axy, axx), (ayy, ayx) = np.gradient(ax, step), np.gradient(ay, step)
        inner = slice(2, -2)
        kappa = ((axx + ayy) / 2)[inner, inner]
        # The rotation is that of the differences alone.
        assert np.abs(axy - ayx)[inner, inner].max() < 2e-2 * np.abs(axx).max()
        found.append(kappa.std())
        assert set(models) == {"WAVE"}
    assert np.mean(found) == pytest.approx(0.1, rel=0.1)


def test_mass_in_the_ring_is_that_of_gauss():
    _, _, kwargs = RandomField().draw(np.random.default_rng(3), PLANE)
    angle = 2 * np.pi * np.arange(4096) / 4096
    x, y = PLANE.x + 1.2 * np.cos(angle), PLANE.y + 1.2 * np.sin(angle)
    ax, ay = total(wave_deflection, kwargs, x, y)
    mean = np.mean(ax * np.cos(angle) + ay * np.sin(angle))
    assert sum(wave_mass(PLANE, kw) for kw in kwargs) == pytest.approx(mean, abs=1e-10)


def test_a_lens_keeps_its_mass_and_both_engines_agree():
    population = Population(scene_fractions=(1, 0, 0, 0, 0, 0), lens_light=0, clumpy=0, neighbours=0)
    scene = draw_model(population, 5, 2, RandomField())
    plane = scene.substructure.plane
    assert scene.substructure.name == "random"
    angle = 2 * np.pi * np.arange(4096) / 4096
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = plane.x + plane.theta_e * cos, plane.y + plane.theta_e * sin
    bx, by = ray_shooting(scene)(x, y)
    bare = draw_model(population, 5, 2)
    cx, cy = ray_shooting(bare)(x, y)
    assert np.mean((bx - cx) * cos + (by - cy) * sin) == pytest.approx(0, abs=2e-3)
    grid = Grid(96, 0.06)
    image, _ = render(scene, grid)
    torch_image, _ = render_batch([scene], grid, dtype=torch.float64)
    assert np.abs(torch_image[0].numpy() - image).max() < 1e-6 * image.max()


@pytest.mark.parametrize("options", [{"rms": (0.3, 0.1)}, {"wavelengths": (0, 1)},
                                     {"slope": (2, 1)}, {"waves": -1}])
def test_ranges_that_are_none(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        RandomField(**options)

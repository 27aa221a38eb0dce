"""The torch engine compared with lenstronomy, with closed forms, and between batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel

from lenssr.simulate import (
    SCENE_TYPES,
    Grid,
    Population,
    SceneModel,
    Subhalos,
    draw_model,
    lines_as_points,
    parse_substructure,
    render,
    render_batch,
    shoot_rays_batch,
)


def draw_scene(population, grid, seed, index, substructure="no_sub"):
    """Draw and render scene ``index`` of a series: image, points and model."""
    model = draw_model(population, seed, index, parse_substructure(substructure))
    return *render(model, grid), model


GRID = Grid(96, 0.066)


def draw(n, seed=3, **keywords):
    return [Population(**keywords).draw(np.random.default_rng([seed, i])) for i in range(n)]


def lens_scene(rng, **keywords):
    return Population(scene_fractions=(1.0, 0, 0, 0, 0, 0), **keywords).draw(rng)


def add(scene, model, **kwargs):
    scene.lens_models.append(model)
    scene.lens_kwargs.append(kwargs)
    return scene


def with_point_masses(rng):
    scene = lens_scene(rng)
    for x, y in rng.uniform(-2, 2, (rng.integers(1, 40), 2)):
        add(scene, "POINT_MASS", theta_E=10 ** rng.uniform(-3, -0.9), center_x=x, center_y=y)
    return scene


def with_halos(rng):
    scene = lens_scene(rng)
    for x, y in rng.uniform(-2, 2, (rng.integers(1, 8), 2)):
        add(scene, "TNFW", Rs=10 ** rng.uniform(-2, 0), alpha_Rs=10 ** rng.uniform(-3, -1),
            r_trunc=10 ** rng.uniform(-1.5, 0.7), center_x=x, center_y=y)
    return scene


def with_isothermal(rng):
    scene = lens_scene(rng)
    scene.lens_models[0] = "SIE"
    del scene.lens_kwargs[0]["gamma"]
    return add(scene, "CONVERGENCE", kappa=-0.02, ra_0=0.1, dec_0=0.2)


def with_image_source(rng):
    scene = lens_scene(rng)
    y, x = np.mgrid[-1:1:21j, -1:1:31j]
    image = np.exp(-3 * np.hypot(x - 0.1, y)) * (1 + np.cos(9 * x + 5 * y))
    for models, kwargs in ((scene.source_models, scene.source_kwargs),
                           (scene.light_models, scene.light_kwargs)):
        models.append("INTERPOL")
        kwargs.append(dict(image=image.astype(">f4"), amp=0.7, center_x=rng.normal(0, 0.3),
                           center_y=rng.normal(0, 0.3), phi_G=rng.uniform(0, 6), scale=0.05))
    return scene


def with_disc(rng):
    scene = lens_scene(rng)
    scene.source_models, scene.source_kwargs = ["ELLIPSOID"], [
        dict(amp=1.0, radius=0.3, e1=0.1, e2=-0.2, center_x=0.1, center_y=rng.normal(0, 0.2))]
    return scene


def max_error(scenes, **keywords):
    """Return the largest difference from lenstronomy relative to the peak of the scene."""
    images, points = render_batch(scenes, GRID, **keywords)
    images, points = images.cpu().double().numpy(), points.cpu().double().numpy()
    errors = []
    for scene, image, table in zip(scenes, images, points):
        true, true_points = render(scene, GRID)
        errors.append(np.abs(image - true).max() / (np.abs(true).max() or 1.0))
        np.testing.assert_allclose(table[: len(true_points)], true_points, rtol=1e-5, atol=1e-5)
        assert not table[len(true_points):].any()
    return max(errors)


def test_every_scene_type_agrees_with_lenstronomy():
    scenes = draw(200)
    assert {scene.scene_type for scene in scenes} == set(SCENE_TYPES)
    assert max_error(scenes) < 1e-9


@pytest.mark.parametrize("substructure", ["no_sub", "cdm", "wdm", Subhalos(profile="tnfw"),
                                          "axion"])
def test_every_class_agrees_with_lenstronomy(substructure):
    population, scenes = Population(scene_fractions=(0.6, 0.4, 0, 0, 0, 0)), []
    for index in range(40 if isinstance(substructure, str) else 10):
        _, _, scene = draw_scene(population, Grid(4, 1.0), 9, index, substructure)
        scenes.append(scene)
    assert max_error(scenes) < 1e-7


def test_all_classes_and_sources_agree_with_lenstronomy():
    priors = [None, parse_substructure("cdm"), parse_substructure("wdm"),
              parse_substructure("axion"), Subhalos(profile="tnfw", mean_number=10),
              Subhalos(slope=-0.9, counts="fixed")]
    fractions = (0.5, 0.2, 0.15, 0.05, 0.05, 0.05)
    populations = [Population(scene_fractions=fractions, **keywords) for keywords in (
        dict(real_sources=1.0), dict(clumpy=1.0), dict(clumpy=0.0, mass_model="SIE"))]
    scenes = [draw_model(populations[i % 3], 21, i, priors[i // 3 % 6]) for i in range(200)]
    assert {scene.scene_type for scene in scenes} == set(SCENE_TYPES)
    sources = {(scene.galaxy != "", len(scene.source_models) > 1) for scene in scenes}
    assert sources == {(True, False), (False, False), (False, True)}
    assert max_error(scenes) < 1e-7
    assert max_error(scenes, dtype=torch.float32) < 1e-4


@pytest.mark.parametrize("make", [with_point_masses, with_halos, with_isothermal, with_image_source,
                                  with_disc])
def test_every_model_agrees_with_lenstronomy(make):
    scenes = [make(np.random.default_rng([5, i])) for i in range(20)]
    assert max_error(scenes) < 1e-7


def test_single_precision():
    scenes = draw(60) + [with_point_masses(np.random.default_rng([6, i])) for i in range(20)]
    assert max_error(scenes, dtype=torch.float32) < 2e-4
    images, points = render_batch(scenes[:2], GRID, dtype=torch.float32)
    assert images.dtype == points.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    scenes = draw(30) + [with_point_masses(np.random.default_rng([6, i])) for i in range(10)]
    assert max_error(scenes, device="cuda") < 1e-7


def source_positions(grid, models, kwargs):
    axis = torch.as_tensor(grid.coordinates()[0][: grid.n])
    scene = SceneModel("lens", models, kwargs)
    return [b[0].numpy() for b in shoot_rays_batch([scene], axis, 2**16, torch.float64)]


def deflection(grid, models, kwargs):
    x, y = (c.reshape(grid.n, grid.n) for c in grid.coordinates())
    beta = source_positions(grid, models, kwargs)
    return x - beta[0], y - beta[1]


@pytest.mark.parametrize("gamma", [1.6, 1.95, 2.0, 2.4])
@pytest.mark.parametrize("e", [(0.0, 0.0), (0.05, -0.1), (-0.3, 0.31)])
def test_power_law_to_an_axis_ratio_of_two_fifths(gamma, e):
    # Moduli of 0, 0.11 and 0.43: the last has the axis ratio 0.4.
    kwargs = dict(theta_E=1.3, gamma=gamma, e1=e[0], e2=e[1], center_x=0.013, center_y=-0.2)
    expected = LensModel(["EPL"]).alpha(*GRID.coordinates(), [kwargs])
    for alpha, true in zip(deflection(GRID, ["EPL"], [kwargs]), expected):
        np.testing.assert_allclose(alpha.ravel(), true, atol=1e-9)


def test_point_mass_does_not_deflect_its_own_position():
    grid = Grid(5, 0.25)
    masses = [dict(theta_E=t, center_x=x, center_y=0.0) for t, x in ((0.5, -0.5), (1.0, 0.25))]
    alpha = deflection(grid, ["POINT_MASS"] * 2, masses)
    assert alpha[0][2, 3] == pytest.approx(0.25 / 0.75, rel=1e-12)
    assert alpha[1][2, 3] == 0


LINE = dict(theta_E=0.6, x1=-0.51, y1=0.237, x2=0.433, y2=-0.31)


def is_far_from_line(distance):
    # Near a line of two thousand points, the gaps between the points matter.
    x, y = (c.reshape(GRID.n, GRID.n) for c in GRID.coordinates())
    start, step = (LINE["x1"], LINE["y1"]), (LINE["x2"] - LINE["x1"], LINE["y2"] - LINE["y1"])
    along = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) / np.dot(step, step)
    along = np.clip(along, 0, 1)
    return np.hypot(x - start[0] - along * step[0], y - start[1] - along * step[1]) > distance


def test_line_of_mass_equals_many_points():
    models, kwargs = lines_as_points(["LINE_MASS"], [LINE], 2000)
    alpha, true = deflection(GRID, ["LINE_MASS"], [LINE]), deflection(GRID, models, kwargs)
    mask = is_far_from_line(0.02)
    assert mask.mean() > 0.95
    for a, b in zip(alpha, true):
        np.testing.assert_allclose(a[mask], b[mask], rtol=0, atol=2e-6)


def test_scene_with_a_line_of_mass_equals_many_points():
    scenes = [add(lens_scene(np.random.default_rng([8, i])), "LINE_MASS", **LINE)
              for i in range(6)]
    mask = is_far_from_line(0.02)
    for scene, image in zip(scenes, render_batch(scenes, GRID)[0].numpy()):
        models, kwargs = lines_as_points(scene.lens_models, scene.lens_kwargs, 2000)
        true, _ = render(replace(scene, lens_models=models, lens_kwargs=kwargs), GRID)
        assert np.abs(image - true)[mask].max() / np.abs(true).max() < 1e-4


def test_long_line_deflects_perpendicular_to_itself():
    # An infinite line deflects by pi theta^2 / (2 h) perpendicular to itself.
    line = dict(theta_E=1.0, x1=-1000.0, y1=0.0, x2=1000.0, y2=0.0)
    alpha = deflection(Grid(4, 0.5), ["LINE_MASS"], [line])
    expected = np.pi / 2000 * np.sign(np.arange(4) - 1.5)[:, None] * np.ones(4)
    np.testing.assert_allclose(alpha[1], expected, rtol=1e-3)
    assert np.abs(alpha[0]).max() < 1e-5


@pytest.mark.parametrize("length", [0.0, 1e-8, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_short_line_is_a_point(length, dtype):
    point = dict(theta_E=0.3, center_x=0.02, center_y=0.05)
    line = dict(theta_E=0.3, x1=0.02 - length / 2, x2=0.02 + length / 2, y1=0.05, y2=0.05)
    scenes = [SceneModel("lens", [m], [k]) for m, k in (("POINT_MASS", point), ("LINE_MASS", line))]
    axis = torch.as_tensor(GRID.coordinates()[0][: GRID.n])
    for beta in shoot_rays_batch(scenes, axis, 2**16, dtype):
        # The difference is (length / r)^2 / 24 of the deflection, largest at the nearest pixel.
        torch.testing.assert_close(beta[1], beta[0], rtol=0,
                                   atol=1e-4 if dtype == torch.float64 else 3e-4)


def test_quasar_behind_a_line_of_mass():
    scene = Population(scene_fractions=(0, 0, 1.0, 0, 0, 0)).draw(np.random.default_rng(12))
    scene = add(scene, "LINE_MASS", theta_E=0.1, x1=1.0, x2=1.2, y1=0.0, y2=0.4)
    models, kwargs = lines_as_points(scene.lens_models, scene.lens_kwargs)
    _, (points,) = render_batch([scene], GRID)
    _, true = render(replace(scene, lens_models=models, lens_kwargs=kwargs), GRID)
    # The tolerance covers the difference of a line and a hundred points.
    assert len(points) >= 2
    np.testing.assert_allclose(points.numpy(), true, rtol=1e-5, atol=1e-4)


def test_scene_does_not_depend_on_its_batch():
    scenes = draw(40) + [with_point_masses(np.random.default_rng([6, i])) for i in range(5)]
    together, points = render_batch(scenes, GRID)
    for i in (0, 7, 21, 44):
        alone, alone_points = render_batch([scenes[i]], GRID)
        peak = float(alone.abs().max()) or 1.0
        assert float((alone[0] - together[i]).abs().max()) / peak < 1e-10
        torch.testing.assert_close(points[i, : alone_points.shape[1]], alone_points[0])


def test_no_scenes():
    images, points = render_batch([], GRID)
    assert images.shape == (0, 96, 96)
    assert points.shape == (0, 0, 3)


def test_bad_arguments():
    scene = SceneModel("lens", ["NFW"], [dict(Rs=1.0, alpha_Rs=1.0)])
    with pytest.raises(ValueError, match="`scenes` must hold lens models of CONV.*, got 'NFW'"):
        render_batch([scene], GRID)
    scene = SceneModel("galaxy", light_models=["GAUSSIAN"],
                       light_kwargs=[dict(amp=1.0, sigma=1.0, center_x=0.0, center_y=0.0)])
    with pytest.raises(ValueError, match="`scenes` must hold light models .*, got 'GAUSSIAN'"):
        render_batch([scene], GRID)
    with pytest.raises(TypeError, match="`dtype` must be torch.float64 or torch.float32"):
        render_batch([], GRID, dtype=torch.float16)

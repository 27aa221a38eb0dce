"""Scenes and pairs: lensing compared with closed forms, seeds, flux, alignment."""

import numpy as np
import pytest
from astropy.wcs.utils import proj_plane_pixel_scales
from photutils.centroids import centroid_2dg

from lenssr.simulate import (
    SCENE_TYPES,
    Grid,
    Population,
    SceneModel,
    draw_model,
    parse_substructure,
    render,
    sersic_parameters,
    simulate_pair,
)
from lenssr.train import SceneCache


def draw_scene(population, grid, seed, index, substructure="no_sub"):
    """Return image, points and model of scene ``index`` of a series."""
    model = draw_model(population, seed, index, parse_substructure(substructure))
    return *render(model, grid), model


def test_sersic_has_its_flux():
    grid = Grid(401, 0.05)
    scene = SceneModel("galaxy", light_models=["SERSIC_ELLIPSE"],
                       light_kwargs=[sersic_parameters(0.2, -0.1, 3.0, 0.4, 1.0, 0.1, 0.2)])
    image, points = render(scene, grid)
    assert image.sum() == pytest.approx(3.0, rel=2e-3)
    assert len(points) == 0


def test_flux_of_a_cusp_does_not_depend_on_the_position_of_the_centre():
    grid, peaks = Grid(81, 0.04), []
    for shift in (0.0, 0.02):
        scene = SceneModel("galaxy", light_models=["SERSIC_ELLIPSE"],
                           light_kwargs=[sersic_parameters(shift, shift, 1.0, 0.5, 4.0)])
        image, _ = render(scene, grid)
        peaks.append(image[36:46, 36:46].sum())
    assert peaks[0] == pytest.approx(peaks[1], rel=0.03)


def test_einstein_ring_radius_and_magnification():
    # A small source behind the centre of a round isothermal lens: a ring of radius theta_E,
    # magnified by 2 theta_E / radius for a uniform disc (the ring covers 4 theta_E radius pi).
    theta, radius = 1.0, 0.05
    grid = Grid(600, 0.005)
    scene = SceneModel(
        "lens", ["EPL"],
        [dict(theta_E=theta, gamma=2.0, e1=0.0, e2=0.0, center_x=0, center_y=0)],
        ["ELLIPSOID"], [dict(amp=1.0, radius=radius, e1=0.0, e2=0.0, center_x=0, center_y=0)])
    image, _ = render(scene, grid)
    x, y = grid.coordinates()
    r = np.hypot(x, y).reshape(image.shape)
    assert (image * r).sum() / image.sum() == pytest.approx(theta, rel=5e-3)
    flat = np.hypot(x, y) < radius
    area = flat.sum()
    assert (image > 0).sum() / area == pytest.approx(4 * theta / radius, rel=0.02)


def test_quasar_images_solve_the_lens_equation():
    # Isothermal sphere: images at beta + theta_E and beta - theta_E, magnified by
    # 1 + theta_E / beta and theta_E / beta - 1.
    # The source is off the axes, because grid points on the axes meet the centre of the lens.
    theta, source = 1.0, np.array([0.2, 0.013])
    beta = np.hypot(*source)
    scene = SceneModel(
        "quasar", ["EPL"],
        [dict(theta_E=theta, gamma=2.0, e1=0.0, e2=0.0, center_x=0, center_y=0)],
        ["SERSIC_ELLIPSE"], [sersic_parameters(*source, 0.1, 0.2, 1.0)],
        quasar=dict(x=source[0], y=source[1], flux=1.0, flicker=np.zeros(9)))
    grid = Grid(100, 0.05)
    _, points = render(scene, grid)
    points = points[np.argsort(-points[:, 2])][:2]
    radii = (points[:, :2] - 49.5) * 0.05 @ source / beta
    np.testing.assert_allclose(radii, [theta + beta, beta - theta], atol=2e-3)
    np.testing.assert_allclose(points[:, 2], [1 + theta / beta, theta / beta - 1], rtol=0.02)


def test_every_scene_type_is_drawn_and_rendered():
    grid, scene_types = Grid(96, 0.084), set()
    for index in range(60):
        image, points, model = draw_scene(Population(), grid, 5, index)
        scene_types.add(model.scene_type)
        assert np.isfinite(image).all()
        assert points.shape[1:] == (3,)
        if model.scene_type == "empty":
            assert not image.any()
    assert scene_types == set(SCENE_TYPES)


def test_imperfect_subtraction_leaves_rings():
    """Residuals of both signs hold up to a tenth of the flux; the rest of the scene is equal."""
    grid = Grid(64, 0.1)
    options = dict(scene_fractions=(0, 1, 0, 0, 0, 0), arc_to_lens=(1e-9, 1e-9), neighbours=0.0)
    fluxes = {"smooth": [], "rings": []}
    for index in range(40):
        smooth, rings = (
            draw_scene(Population(**options, subtraction_residuals=fraction), grid, 3, index)
            for fraction in (0.0, 1.0))
        assert rings[2].source_kwargs == smooth[2].source_kwargs
        n = len(smooth[2].light_kwargs)
        assert rings[2].light_kwargs[:n] == smooth[2].light_kwargs
        if n:  # otherwise the subtraction is perfect
            residual = rings[0] - smooth[0]
            assert residual.min() < 0 < residual.max()
            assert 0.001 < np.abs(residual).sum() < 0.7
            fluxes["smooth"].append(np.abs(smooth[0]).sum())
            fluxes["rings"].append(np.abs(rings[0]).sum())
    assert np.median(fluxes["rings"]) > 1.2 * np.median(fluxes["smooth"])


def test_bank_is_the_series_of_its_seed(tmp_path):
    bank = SceneCache(tmp_path, 8, Grid(16, 0.5), seed=4)
    bank.build()
    assert len(bank) == 8
    scenes, points = bank.take(bank.open(), [7, 2])
    for i, index in enumerate((7, 2)):
        image, table, _ = draw_scene(Population(), Grid(16, 0.5), 4, index)
        np.testing.assert_allclose(scenes[i], image, rtol=1e-6, atol=1e-30)
        n = len(table)
        order = np.argsort(-table[:, 2])
        np.testing.assert_allclose(points[i][:n], table[order], rtol=1e-6)
        assert not points[i][n:, 2].any()


def test_pair_repeats_with_its_seed():
    first, repeated, different = (simulate_pair(seed=s, size=24) for s in (2, 2, 3))
    np.testing.assert_array_equal(first.lr.data, repeated.lr.data)
    np.testing.assert_array_equal(first.hr.data, repeated.hr.data)
    assert np.abs(first.lr.data - different.lr.data).max() > 0


@pytest.mark.parametrize("scale", [2, 3])
def test_both_images_have_the_same_sky(scale):
    pair = simulate_pair(seed=11, size=32, scale=scale)
    assert pair.scale == scale
    assert pair.hr.shape == (32 * scale, 32 * scale)
    ratio = proj_plane_pixel_scales(pair.lr.wcs) / proj_plane_pixel_scales(pair.hr.wcs)
    np.testing.assert_allclose(ratio, scale)
    corner = pair.lr.wcs.pixel_to_world(-0.5, -0.5)
    assert corner.separation(pair.hr.wcs.pixel_to_world(-0.5, -0.5)).arcsec < 1e-6
    assert pair.lr.psf.sum() == pytest.approx(1, abs=1e-6)
    assert pair.hr.data.sum() == pytest.approx(pair.lr.data.sum(), rel=0.05)


class OneStar(Population):
    """A star off the centre."""

    def draw(self, rng):
        return SceneModel("field", points=[(0.31, -0.57, 1.0)])


def test_star_has_the_same_position_in_both_images():
    from lenssr.simulate import Instrument

    pair = simulate_pair(population=OneStar(), size=32, seed=1,
                         instrument=Instrument(snr=(1e6, 1e6), ellipticity=0.0))
    positions = [image.wcs.pixel_to_world(*centroid_2dg(image.data))
                 for image in (pair.lr, pair.hr)]
    # A hundredth of an output pixel.
    assert positions[0].separation(positions[1]).arcsec < 0.01 * 0.084


@pytest.mark.parametrize(("keywords", "message"), [
    ({"preset": "hubble"}, "`preset` must be one of hsc-hst, any-telescope, .*, got 'hubble'"),
    ({"scale": 0}, "`scale` must be a positive integer, got 0"),
    ({"size": 2.5}, "`size` must be a positive integer, got 2.5"),
])
def test_bad_arguments(keywords, message):
    with pytest.raises(ValueError, match=message):
        simulate_pair(**keywords)

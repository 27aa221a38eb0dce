"""Pairs that are made for one purpose: that they are what they should be."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u

from lenssr.evaluate import (
    NOISE_KERNEL_WIDTHS,
    TWIN_MASSES,
    SceneConfig,
    add_subhalo,
    blanks,
    find_experiment,
    find_scene_config,
    galaxies,
    lens_population,
    lenses,
    stars,
    twins,
)
from lenssr.image import gaussian_psf, psf_fwhm
from lenssr.simulate import (
    Instrument,
    LensPair,
    Population,
    draw_model,
    make_ccd,
    ray_shooting,
    simulate_pair,
)

SITE = SceneConfig(Instrument(), Population(), 40, 2)


def test_galaxies_are_alone():
    for pair in (pair for (pair,) in galaxies(SITE, 3, 5)):
        scene = pair.truth["scene"]
        assert scene.scene_type == "galaxy" and pair.truth["fidelity"] == "galaxies"
        assert len(scene.light_models) == 1 and not scene.points and not scene.lens_models


def test_stars_are_where_they_are_said_to_be():
    fields = [pair for (pair,) in stars(SITE, 11, 5)]
    assert len(fields) == 2
    for pair in fields:
        places, light = pair.truth["places"], pair.hr.data
        assert places.shape == (16, 2)
        for x, y in places:
            part = (slice(round(y) - 5, round(y) + 6), slice(round(x) - 5, round(x) + 6))
            yy, xx = np.indices(light.shape)
            centre = [(light * g)[part].sum() / light[part].sum() for g in (xx, yy)]
            assert centre == pytest.approx([x, y], abs=0.01)
        peak, sky = pair.lr.data.max(), pair.truth["sky"].value
        assert peak / sky == pytest.approx(200, rel=0.03)
    assert not np.array_equal(fields[0].truth["places"], fields[1].truth["places"])


def test_blanks_have_the_noise_of_their_name():
    groups = [pair for (pair,) in blanks(SITE, 20, 5)]
    for name, lag in NOISE_KERNEL_WIDTHS.items():
        frames = [p.lr.data / p.truth["sky"].value for p in groups if p.truth["fidelity"] == name]
        assert len(frames) == (5 if lag else 20)
        found = np.mean([(f[:, 1:] * f[:, :-1]).mean() / (f**2).mean() for f in frames])
        assert found == pytest.approx(lag, abs=0.04)
        assert np.std(frames) == pytest.approx(1, abs=0.03)
        assert not any(p.hr.data.any() for p in groups)


def test_lenses_are_smooth():
    (pair,), = lenses(SITE, 5, 5)
    scene = pair.truth["scene"]
    assert scene.lens_models == ["SIE", "SHEAR"] and len(scene.source_models) == 1
    assert not scene.light_models
    small = lens_population(SceneConfig(Instrument(pixel_scale=0.05), Population(), 30, 2))
    assert small.theta_e == pytest.approx((0.225, 0.45))


def test_a_subhalo_deflects_as_its_mass_says():
    scene = draw_model(Population(scene_fractions=(1, 0, 0, 0, 0, 0)), 3, 0)
    heavy = add_subhalo(scene, 1e10)
    assert len(scene.lens_models) == 2
    halo = heavy.lens_kwargs[-1]
    place = np.array([halo["center_x"], halo["center_y"]])
    plane = scene.substructure.plane
    assert 0.79 < np.hypot(*(place - [plane.x, plane.y])) / plane.theta_e < 1.21
    # Far out, where all of a truncated halo is within, a deflection is that of its mass.
    far = place + [200.0, 0.0]
    with_it, without = (np.array(ray_shooting(each)(*far[:, None])) for each in (heavy, scene))
    expected = 1e10 / (np.pi * plane.critical * 200.0)
    assert (without - with_it).ravel() == pytest.approx([expected, 0], rel=0.02, abs=1e-9)


def test_twins_differ_in_what_they_should():
    (group,) = twins(SITE, 1, 5)
    without, again, *rest = group
    assert len(rest) == 2 * len(TWIN_MASSES)
    sigma = without.lr.uncertainty.array
    noise = [pair.lr.data - 0 for pair in group]
    # Two of one lens: independent noise.
    assert np.array_equal(without.hr.data, again.hr.data)
    assert (noise[1] - noise[0]).std() == pytest.approx(np.sqrt(2) * np.sqrt(
        (sigma**2).mean()), rel=0.05)
    for pair in rest:
        assert pair.truth["sky"] == without.truth["sky"]
        assert np.array_equal(pair.lr.psf, without.lr.psf)
    # With and without a subhalo, at the same noise: the noise of the difference is gone.
    from lenssr.methods import ForwardModel

    for k in (0, 2):
        true = ForwardModel(without.lr.psf, 2, without.lr.shape).forward(
            4 * (rest[k].hr.data - without.hr.data))
        difference = rest[k].lr.data - without.lr.data
        assert (difference - true).std() < 0.1 * sigma.min()
        assert np.abs(true).max() > sigma.min()


def test_sites():
    of_preset = find_scene_config(find_experiment("observed", n=1, seed=0, scale=None, training=0))
    assert of_preset.size == 64 and len(of_preset.instrument.kernels) > 1
    assert of_preset.instrument.skies is None and of_preset.instrument.pedestal == (0.0, 0.0)
    pair = simulate_pair(instrument="Euclid VIS", size=24, engine="torch", seed=1)
    site = find_scene_config(find_experiment([pair], n=1, seed=0, scale=None, training=0))
    assert site.instrument.pixel_scale == 0.101 and site.size == 24
    # The noise is that of the parts, whatever that of the instrument.
    (field,) = next(iter(stars(site, 1, 0)))
    assert field.lr.data.max() / field.truth["sky"].value == pytest.approx(200, rel=0.05)
    # Pairs of others: their PSF, on their pixels.
    data = np.ones((20, 20))
    other = LensPair(make_ccd(data, 0.2, sigma=data, psf=gaussian_psf(3.0)),
                     make_ccd(np.ones((40, 40)), 0.1))
    site = find_scene_config(SimpleNamespace(preset=None, scale=2, test=lambda: iter([other])))
    assert site.instrument.pixel_scale == pytest.approx(0.2)
    (field,) = next(iter(stars(site, 1, 0)))
    assert psf_fwhm(field.lr.psf) == pytest.approx(3.0, rel=0.02)
    other.lr.wcs = None
    with pytest.raises(ValueError, match="no PSF or no pixel scale"):
        find_scene_config(SimpleNamespace(preset=None, scale=2, test=lambda: iter([other])))
    assert u.Quantity(pair.truth["theta_e"]).unit == u.arcsec

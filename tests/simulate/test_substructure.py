"""Dark substructure: mass functions, positions, vortices, and the conserved mass of lenses."""

import numpy as np
import pytest
from astropy import units as u
from lenstronomy.Cosmo.lens_cosmo import LensCosmo
from lenstronomy.LensModel.lens_model import LensModel
from scipy import stats

from lenssr.simulate import (
    SUBSTRUCTURES,
    Grid,
    LensPlane,
    PairSeries,
    Population,
    SceneModel,
    Subhalos,
    Vortex,
    add_substructure,
    draw_model,
    lines_as_points,
    parse_substructure,
    render,
    sersic_parameters,
    simulate_pair,
    truncated_nfw,
)


def draw_scene(population, grid, seed, index, substructure="no_sub"):
    """Return image, points and model of scene ``index`` of a series."""
    model = draw_model(population, seed, index, parse_substructure(substructure))
    return *render(model, grid), model


PLANE = LensPlane(1.2, 0.1, -0.2, 0.5, 1.0)
GRID = Grid(48, 0.17)
LENSES = Population(scene_fractions=(1, 0, 0, 0, 0, 0))

# Sum of the image and one pixel of scenes of seed 1 that the shipped networks were trained on.
REFERENCE_SCENES = {1: (3.7301160801038384, 0.12891026546927187),
                    3: (2.4678804697066106, 0.0010554457065839913),
                    9: (5.825486808931538, 0.002559575021799836),
                    10: (0.990634164019987, 0.001830188419152)}


def draws(prior, times, seed=0):
    rng = np.random.default_rng(seed)
    return [prior.draw(rng, PLANE)[0] for _ in range(times)]


@pytest.mark.parametrize("index", REFERENCE_SCENES)
def test_scenes_are_those_of_the_shipped_networks(index):
    image, _, _ = draw_scene(Population(), GRID, 1, index)
    assert (image.sum(), image[20, 27]) == pytest.approx(REFERENCE_SCENES[index], rel=1e-7)
    same, _ = render(Population().draw(np.random.default_rng([1, index])), GRID)
    assert np.array_equal(image, same)


@pytest.mark.parametrize("substructure", SUBSTRUCTURES)
def test_class_changes_only_the_mass(substructure):
    _, _, plain = draw_scene(LENSES, GRID, 3, 2)
    image, _, model = draw_scene(LENSES, GRID, 3, 2, substructure)
    assert np.isfinite(image).all()
    assert model.substructure.name == substructure
    assert model.substructure.plane.theta_e == plain.lens_kwargs[0]["theta_E"]
    for name in ("source_kwargs", "light_kwargs", "points"):
        assert getattr(model, name) == getattr(plain, name)
    changed = {"theta_E": 0, "gamma": 0}
    assert {**model.lens_kwargs[0], **changed} == {**plain.lens_kwargs[0], **changed}
    again, _, _ = draw_scene(LENSES, GRID, 3, 2, substructure)
    assert np.array_equal(image, again)


@pytest.mark.parametrize("slope", [-1.9, -0.9, -1.0])
def test_slope_of_the_mass_function(slope):
    masses = draws(Subhalos(mean_number=200_000, slope=slope), 1)[0]["mass"]
    edges = np.logspace(6, 10, 13)
    counts, _ = np.histogram(masses, edges)
    assert counts.sum() == len(masses)
    centres = np.sqrt(edges[1:] * edges[:-1])
    fit = np.polyfit(np.log(centres), np.log(counts / np.diff(edges)), 1, w=np.sqrt(counts))
    assert fit[0] == pytest.approx(slope, abs=0.1)


def test_numbers_are_poisson():
    numbers = np.array([len(d["mass"]) for d in draws(Subhalos(), 2000)])
    assert numbers.mean() == pytest.approx(25, abs=4 * 5 / np.sqrt(2000))
    groups = np.array([0, 19, 22, 24, 26, 28, 31, 1000])
    counts, _ = np.histogram(numbers, groups)
    expected = np.diff(stats.poisson(25).cdf(groups - 1)) * 2000
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize(("positions", "power"), [("area", 2), ("radius", 1)])
def test_positions(positions, power):
    halos = draws(Subhalos(mean_number=50_000, positions=positions), 1)[0]
    r = np.hypot(halos["x"] - PLANE.x, halos["y"] - PLANE.y)
    uniform = (r**power - 0.25**power) / (2**power - 0.25**power)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    angle = np.arctan2(halos["y"] - PLANE.y, halos["x"] - PLANE.x) / (2 * np.pi) + 0.5
    assert stats.kstest(angle, "uniform").pvalue > 1e-3


def test_small_halos_are_missing_in_warm_dark_matter():
    # With the same random numbers, halos are removed; none are added or moved.
    cold, warm = (draws(Subhalos(mean_number=400_000, half_mode_mass=m), 1)[0]["mass"]
                  for m in (0, 1e8))
    assert np.isin(warm, cold).all()
    edges = np.logspace(6, 9, 7)
    many, few = (np.histogram(m, edges)[0] for m in (cold, warm))
    centres = np.sqrt(edges[1:] * edges[:-1])
    np.testing.assert_allclose(few / many, (1 + 2.7e8 / centres) ** -0.99, rtol=0.15)


@pytest.mark.parametrize("positions", ["area", "radius"])
def test_mass_fraction(positions):
    prior = Subhalos(mass_fraction=0.02, slope=-1.5, positions=positions)
    inside = []
    for halos in draws(prior, 3000):
        r = np.hypot(halos["x"] - PLANE.x, halos["y"] - PLANE.y)
        inside.append(halos["mass"][r < PLANE.theta_e].sum())
    error = np.std(inside) / np.sqrt(len(inside))
    assert error < 0.1 * 0.02 * PLANE.mass
    assert np.mean(inside) == pytest.approx(0.02 * PLANE.mass, abs=4 * error)


def test_truncated_halos_have_their_mass_and_size():
    mass = 1e9
    kwargs = truncated_nfw(mass, PLANE, 1.0)
    # At large radii the total mass deflects.
    radius = 1000 * kwargs["r_trunc"]
    alpha, _ = LensModel(["TNFW"]).alpha(radius, 0.0, [kwargs])
    assert np.pi * PLANE.critical * alpha * radius == pytest.approx(mass, rel=5e-3)
    # Duffy et al. (2008), table 1, and radii of lenstronomy, whose G differs by 4e-4.
    c = 5.71 * (mass * 0.6766 / 2e12) ** -0.084 * 1.5**-0.47
    from astropy.cosmology import Planck18

    scale, _ = LensCosmo(0.5, 1.0, cosmo=Planck18).nfw_physical2angle(mass, c)
    assert kwargs["Rs"] == pytest.approx(scale, rel=2e-3)
    assert kwargs["r_trunc"] == pytest.approx(c * kwargs["Rs"], rel=1e-3)


def mean_outward_deflection(models, kwargs, radius, points=20_000):
    models, kwargs = lines_as_points(models, kwargs)
    angle = 2 * np.pi * (np.arange(points) + 0.5) / points
    cos, sin = np.cos(angle), np.sin(angle)
    ax, ay = LensModel(models).alpha(kwargs[0]["center_x"] + radius * cos,
                                     kwargs[0]["center_y"] + radius * sin, kwargs)
    return np.mean(ax * cos + ay * sin)


@pytest.mark.parametrize(("prior", "tolerance"), [
    (Subhalos(slope=-0.9), 1e-4), (Subhalos(slope=-0.9, profile="tnfw"), 1e-3),
    (Subhalos(half_mode_mass=5e8, mean_number=500), 1e-4),
    # Lines of a hundred points, of which one may lie on either side of the ring.
    (Vortex(), 4e-3), (Vortex(log_axion_mass=(-22, -22)), 1e-6)])
@pytest.mark.parametrize("gamma", [2.0, 1.8, 2.2])
def test_mass_within_the_einstein_radius_is_kept(prior, tolerance, gamma):
    smooth = dict(theta_E=1.0, gamma=gamma, e1=0.2, e2=-0.1, center_x=0.1, center_y=-0.2)
    changes = []
    for seed in range(4):
        scene = SceneModel("lens", ["EPL"], [smooth])
        add_substructure(scene, prior, 0.5, 1.0, np.random.default_rng(seed))
        before = mean_outward_deflection(["EPL"], [smooth], 1.0)
        after = mean_outward_deflection(scene.lens_models, scene.lens_kwargs, 1.0)
        assert after == pytest.approx(before, rel=tolerance)
        changes.append(1 - scene.lens_kwargs[0]["theta_E"])
    assert max(changes) > 10 * tolerance


def test_mass_is_added_if_it_is_not_conserved():
    smooth = dict(theta_E=1.0, gamma=2.0, e1=0.2, e2=-0.1, center_x=0.1, center_y=-0.2)
    scene = SceneModel("lens", ["EPL"], [smooth])
    add_substructure(scene, Vortex(log_axion_mass=(-22, -22)), 0.5, 1.0,
                     np.random.default_rng(0), conserve_mass=False)
    assert scene.lens_kwargs[0] == smooth
    line = scene.lens_kwargs[1]["theta_E"] ** 2  # the line is within the ring
    assert mean_outward_deflection(scene.lens_models, scene.lens_kwargs, 1.0) == pytest.approx(
        mean_outward_deflection(["EPL"], [smooth], 1.0) + line, rel=1e-3)


def test_vortex_has_its_mass_and_length():
    for axion_mass, half in ((1e-24, 3.0), (1e-22, 0.03)):
        prior = Vortex(log_axion_mass=(np.log10(axion_mass),) * 2)
        fields, models, kwargs = prior.draw(np.random.default_rng(1), PLANE)
        line = fields["vortex"]
        length = np.hypot(*(line.end - line.start)).to_value("arcsec")
        assert length == pytest.approx(2 * half, rel=0.01)
        # Hui et al. (2017PhRvD..95d3541H), eq. 1.
        wave = 2 * np.pi * 1.92 * (1e-22 / axion_mass) * (10 / 320)
        assert length == pytest.approx(wave / 6.291, rel=5e-3)
        np.testing.assert_allclose(((line.start + line.end) / 2).value, [0.1, -0.2])
        assert line.axion_mass.to_value("eV") == pytest.approx(axion_mass)
        points, shapes = lines_as_points(models, kwargs)
        assert len(points) == 100
        total = sum(kw["theta_E"] ** 2 for kw in shapes) * np.pi * PLANE.critical
        assert total == pytest.approx(3e10, rel=1e-9)
        assert line.mass == 3e10 * u.Msun


def test_axion_masses_and_angles():
    lines = [fields["vortex"] for fields in draws(Vortex(), 500)]
    logs = np.array([np.log10(line.axion_mass.value) for line in lines])
    assert stats.kstest((logs + 24) / 2, "uniform").pvalue > 1e-3
    steps = [(line.end - line.start).value for line in lines]
    angles = np.array([np.arctan2(y, x) for x, y in steps]) % np.pi
    assert stats.kstest(angles / np.pi, "uniform").pvalue > 1e-3


def test_einstein_radii_of_velocity_dispersions():
    population = Population(scene_fractions=(1, 0, 0, 0, 0, 0), z_lens=(0.2, 0.8),
                            z_source=(0.5, 2.5), sigma_v=(180, 320))
    for index in range(20):
        _, _, model = draw_scene(population, Grid(8, 0.5), 1, index, "no_sub")
        assert 0.2 <= model.z_lens <= 0.8 and model.z_lens < model.z_source <= 2.5
        assert model.substructure.plane.z_lens == model.z_lens
        velocity = LensCosmo(model.z_lens, model.z_source).sis_theta_E2sigma_v(
            model.lens_kwargs[0]["theta_E"])
        assert 178 < velocity < 322


def test_many_images_of_a_quasar():
    # With more images than magnitudes of flicker, the faintest images are left out.
    scene = SceneModel(
        "quasar", ["EPL"], [dict(theta_E=1.0, gamma=2.0, e1=0.1, e2=0.0, center_x=0.0,
                                 center_y=0.0)],
        ["SERSIC_ELLIPSE"], [sersic_parameters(0.1, 0.02, 0.1, 0.2, 1.0)],
        quasar=dict(x=0.1, y=0.02, flux=1.0, flicker=np.zeros(2)))
    add_substructure(scene, Subhalos(mass_range=(1e9, 2e9)), 0.5, 1.0, np.random.default_rng(2))
    _, few = render(scene, Grid(100, 0.05))
    scene.quasar["flicker"] = np.zeros(60)
    _, many = render(scene, Grid(100, 0.05))
    assert len(many) > 2
    np.testing.assert_allclose(np.sort(few[:, 2]), np.sort(many[:, 2])[-2:])


def test_truth_of_a_pair():
    pair = simulate_pair(substructure="cdm", population=LENSES, seed=3, size=16)
    truth = pair.truth
    assert truth["substructure"] == "cdm" and truth["vortex"] is None
    assert (truth["z_lens"], truth["z_source"]) == (0.5, 1.0)
    halos = truth["halos"]
    assert len(halos) > 5 and halos["mass"].unit == u.Msun and halos["x"].unit == u.arcsec
    assert (halos["mass"] >= 1e6 * u.Msun).all() and (halos["mass"] <= 1e10 * u.Msun).all()
    assert truth["theta_e"] > truth["scene"].lens_kwargs[0]["theta_E"] * u.arcsec
    line = simulate_pair(substructure="axion", population=LENSES, seed=3, size=16).truth
    assert line["vortex"].mass == 3e10 * u.Msun and len(line["halos"]) == 0


def test_sky_without_a_lens_has_no_substructure():
    sky = Population(scene_fractions=(0, 0, 0, 0, 0, 1))
    truth = simulate_pair(population=sky, size=8).truth
    assert truth["substructure"] == "no_sub" and len(truth["halos"]) == 0
    assert np.isnan(truth["z_lens"]) and np.isnan(truth["theta_e"])


@pytest.mark.parametrize("wrong", ["fuzzy", None, 3])
def test_unknown_class(wrong):
    with pytest.raises(ValueError, match="`substructure` must be one of no_sub, cdm, wdm, axion"):
        simulate_pair(substructure=wrong)
    with pytest.raises(ValueError, match="got"):
        parse_substructure(wrong)


@pytest.mark.parametrize(("prior", "keywords", "message"), [
    (Subhalos, dict(mean_number=-1), "`mean_number` must be finite and not negative, got -1"),
    (Subhalos, dict(mass_range=(-1e6, 1e10)), "`mass_range` must be two positive masses"),
    (Subhalos, dict(mass_range=(1e10, 1e6)), "`mass_range` must be two positive masses"),
    (Subhalos, dict(mass_fraction=1.5), "`mass_fraction` must be at least 0 and below 1, got 1.5"),
    (Subhalos, dict(half_mode_mass=-1), "`half_mode_mass` must be finite and not negative"),
    (Subhalos, dict(radii=(2, 1)), "`radii` must be two radii"),
    (Subhalos, dict(truncation=0), "`truncation` must be positive, got 0"),
    (Subhalos, dict(profile="king"), "`profile` must be one of point, tnfw, got 'king'"),
    (Subhalos, dict(positions="nowhere"), "`positions` must be one of area, radius, got"),
    (Vortex, dict(mass=-3e10), "`mass` must be finite and not negative"),
    (Vortex, dict(log_axion_mass=(-22, -24)), "`log_axion_mass` must be two numbers"),
    (Vortex, dict(velocity=0), "`velocity` must be positive, got 0"),
    (Population, dict(z_lens=(0.5, 1.5)), "`z_source` must reach beyond `z_lens` .0.5, 1.5."),
    (Population, dict(z_lens=(0, 0.5)), "`z_lens` must be two positive numbers"),
    (Population, dict(sigma_v=(-200, 300)), "`sigma_v` must be two positive numbers"),
])
def test_impossible_priors(prior, keywords, message):
    with pytest.raises(ValueError, match=message):
        prior(**keywords)


def test_substructure_that_outweighs_its_lens():
    with pytest.raises(ValueError, match="`substructure` must leave mass to the lens, got 9e.12"):
        draw_scene(LENSES, GRID, 1, 0, Vortex(mass=9e12, log_axion_mass=(-22, -22)))
    with pytest.raises(ValueError, match="`radii` must begin within the Einstein radius"):
        draw_scene(LENSES, GRID, 1, 0, Subhalos(mass_fraction=0.1, radii=(3, 4)))


def test_total_flux_does_not_reveal_the_class():
    series = {name: PairSeries("classification", substructure=name, engine="torch", seed=11)
              for name in ("no_sub", "cdm", "axion")}
    flux = {name: s.batch(range(192)).observation.hr.sum(dim=(1, 2)).log()
            for name, s in series.items()}
    for name in ("cdm", "axion"):
        change = (flux[name] - flux["no_sub"]).numpy()
        # The flux of a scene changes by a few per cent, and the mean flux does not.
        assert np.abs(change.mean()) < 0.01 + 3 * change.std() / np.sqrt(192)
        assert 0.01 < change.std() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["classification", "hsc-hst"])
def test_no_summary_number_reveals_the_class(preset):
    """Classify 3,000 images by flux, Einstein radius, background, peak and noise."""
    from itertools import combinations

    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    names = ("no_sub", "cdm", "axion")
    series = PairSeries(preset, substructure=names, engine="torch", seed=11)
    rows = []
    for start in range(0, 3000, 100):
        batch = series.batch(range(start, start + 100))
        for model, image in zip(batch.models, batch.lr.double().numpy()):
            substructure = model.substructure
            border = np.concatenate([image[:2].ravel(), image[-2:].ravel(), image[:, 0],
                                     image[:, -1]])
            rows.append([image.sum(), 0 if substructure is None else substructure.plane.theta_e,
                         np.median(border), image.max(), border.std()])
    rows, classes = np.array(rows), np.arange(3000) % 3
    for pair in combinations(range(3), 2):
        kept = np.isin(classes, pair)
        for classifier in (
                make_pipeline(QuantileTransformer(n_quantiles=100), LogisticRegression()),
                HistGradientBoostingClassifier(learning_rate=0.05, max_depth=3, random_state=0)):
            probability = cross_val_predict(
                classifier, rows[kept], classes[kept] == pair[1], method="predict_proba",
                cv=StratifiedKFold(10, shuffle=True, random_state=0))[:, 1]
            area = roc_auc_score(classes[kept] == pair[1], probability)
            print(f"{preset}: {names[pair[0]]}, {names[pair[1]]}: AUC {area:.3f}")
            assert area < 0.55

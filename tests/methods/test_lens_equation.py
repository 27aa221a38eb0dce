"""Lens equation method, on simulated lenses of known parameters."""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest

from lenssr import LensSRWarning, SuperResolvedImage, superresolve
from lenssr.methods import (
    ForwardModel,
    SearchGrid,
    make_method,
    register_method,
    unregister_method,
)
from lenssr.simulate import Instrument, Population, simulate_pair

LENSES = Population(scene_fractions=(1, 0, 0, 0, 0, 0), clumpy=0.0, neighbours=0.0,
                    theta_e=(1.2, 1.6),
                    mass_model="SIE", arc_to_lens=(0.5, 0.5), source_offset=0.4)


def lens(seed=1, size=32, **options):
    return simulate_pair("hsc-hst", substructure="no_sub", seed=seed, size=size,
                         instrument=Instrument(snr=(60, 60), depth=(500, 500)),
                         **{"population": LENSES, **options})


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair():
    return lens()


@pytest.fixture(scope="module")
def result(pair):
    return superresolve(pair.lr, "lens_equation", max_components=0, n_samples=40)


def psnr(image, truth):
    return 10 * np.log10(truth.max() ** 2 / np.mean((image - truth) ** 2))


def test_lens_parameters(pair, result):
    true = pair.truth["scene"].lens_kwargs[0]
    radius, error = result.lens["theta_E"]
    pixel = pair.truth["instrument"].pixel_scale / 2
    assert radius * pixel == pytest.approx(true["theta_E"], rel=0.03)
    assert abs(radius * pixel - true["theta_E"]) < 4 * error * pixel
    centre = (result.shape[0] - 1) / 2
    for axis in "xy":
        position, error = result.lens[axis]
        assert (position - centre) * pixel == pytest.approx(true[f"center_{axis}"],
                                                            abs=max(4 * error * pixel, 0.03))
    assert result.meta["SRTHETAE"] == pytest.approx(radius)
    assert result.meta["SRLENS"] is True


def test_reduced_chi2_is_one(result):
    assert result.meta["SRCHI2"] == pytest.approx(1.0, abs=0.1)


def test_psnr_exceeds_interpolation(pair, result):
    truth = pair.hr.data
    linear = superresolve(pair.lr, "bilinear")
    assert psnr(result.data, truth) > psnr(linear.data, truth) + 8


def test_coverage_of_the_errors(pair, result):
    pull = (result.data - pair.hr.data) / result.uncertainty.array
    assert 0.5 < np.mean(np.abs(pull) < 1)
    assert 0.85 < np.mean(np.abs(pull) < 2)
    assert (result.measurement_std <= result.uncertainty.array * (1 + 1e-6)).all()
    scatter = result.samples.std(axis=0)
    bright = result.uncertainty.array > np.median(result.uncertainty.array)
    assert 0.3 < np.median((scatter / result.uncertainty.array)[bright]) < 1.2


def test_critical_curve_and_source(pair, result):
    solution, radius = result.lens, result.lens["theta_E"][0]
    x, y = solution.critical_curves[0].T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    # With little shear the critical curve encloses the area of the Einstein circle.
    assert np.sqrt(area / np.pi) == pytest.approx(radius, rel=0.03)
    assert solution.caustics[0].shape == solution.critical_curves[0].shape
    source = pair.truth["scene"].source_kwargs[0]
    pixel = pair.truth["instrument"].pixel_scale / 2
    iy, ix = np.unravel_index(solution.source.argmax(), solution.source.shape)
    centre = (result.shape[0] - 1) / 2
    for k, (index, axis) in enumerate(((ix, "x"), (iy, "y"))):
        position = (solution.origin[k] + index * solution.step - centre) * pixel
        assert position == pytest.approx(source[f"center_{axis}"], abs=0.1)


def test_round_trip_through_a_file(result, tmp_path):
    path = tmp_path / "lens.fits"
    result.write(path)
    back = SuperResolvedImage.read(path).lens
    for name in result.lens.parameters["name"]:
        assert back[name] == pytest.approx(result.lens[name])
    np.testing.assert_allclose(back.covariance, result.lens.covariance)
    np.testing.assert_allclose(back.source, result.lens.source)
    assert back.origin == pytest.approx(result.lens.origin)
    assert back.step == pytest.approx(result.lens.step)
    for name in ("critical_curves", "caustics"):
        for curve, expected in zip(getattr(back, name), getattr(result.lens, name),
                                   strict=True):
            np.testing.assert_allclose(curve, expected)
    assert back.potential == pytest.approx(result.lens.potential)


def test_source_has_the_unit_of_the_image(result):
    doubled = result.multiply(2.0)
    np.testing.assert_allclose(doubled.lens.source, 2 * result.lens.source)
    assert result[4:20, 4:20].lens is None


def test_oversubtracted_lens_galaxy():
    """The lens galaxy is fitted with a negative flux."""
    pair = lens(population=replace(LENSES, scene_fractions=(0, 1, 0, 0, 0, 0),
                                   subtraction_residuals=0.0))
    y, x = np.indices(pair.hr.shape) - (pair.hr.shape[0] - 1) / 2
    deficit = -np.exp(-0.5 * (y**2 + x**2) / 2.0**2)
    observed = ForwardModel(pair.lr.psf.data, 2, pair.lr.shape).forward(deficit)
    deficit *= 15 * np.median(pair.lr.uncertainty.array) / -observed.min()
    observed *= deficit.sum() / observed.sum()
    image = copy.deepcopy(pair.lr)
    image.data += observed
    with warnings.catch_warnings():
        # A model without a source explains the image, too.
        warnings.simplefilter("ignore", LensSRWarning)
        found = superresolve(image, "lens_equation", max_components=0)
    assert found.meta["SRCHI2"] == pytest.approx(1.0, abs=0.1)
    true = pair.truth["scene"].lens_kwargs[0]["theta_E"]
    pixel = pair.truth["instrument"].pixel_scale / 2
    assert found.lens["theta_E"][0] * pixel == pytest.approx(true, rel=0.05)
    centre = tuple(slice(n // 2 - 4, n // 2 + 4) for n in pair.hr.shape)
    expected = (pair.hr.data + deficit)[centre].sum()
    assert expected < 0 and found.data[centre].sum() == pytest.approx(expected, rel=0.06)


def test_data_consistent_result(pair, result):
    with pytest.warns(LensSRWarning, match="calibrated on uncorrected results"):
        moved = superresolve(pair.lr, "lens_equation", max_components=0, data_consistent=True)
    assert moved.meta["SRCHI2"] <= max(result.meta["SRCHI2"], 1.0) + 0.02


def test_image_without_a_lens():
    galaxy = Population(scene_fractions=(0, 0, 0, 1, 0, 0), neighbours=0.0)
    found = simulate_pair("hsc-hst", substructure="no_sub", population=galaxy, seed=3, size=24,
                          instrument=Instrument(snr=(60, 60)))
    with warnings.catch_warnings():
        # The warning depends on whether a source of negligible flux is fitted.
        warnings.simplefilter("ignore", LensSRWarning)
        result = superresolve(found.lr, "lens_equation", max_components=0)
    assert psnr(result.data, found.hr.data) > 35


def search_method(request, name, *searches):
    """Register the lens equation method with other searches until the end of the test."""
    def factory(**options):
        method = make_method("lens_equation", 2, options)
        method.searches = searches
        return method

    register_method(name, factory)
    request.addfinalizer(lambda: unregister_method(name))
    return name


def test_poor_fit_is_searched_again(pair, result, request):
    """The smallest start radius alone fails; a second search with more radii finds the lens."""
    smallest = SearchGrid(1, 1, 3, guesses=False)
    name = search_method(request, "searched_twice", smallest,
                         SearchGrid(12, 5, 6, guesses=False))
    again = superresolve(pair.lr, name, max_components=0)
    assert again.meta["SRCHI2"] == pytest.approx(result.meta["SRCHI2"], abs=0.03)
    assert again.lens["theta_E"][0] == pytest.approx(result.lens["theta_E"][0], rel=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)
        poor = superresolve(pair.lr, search_method(request, "searched_once", smallest),
                            max_components=0)
    assert poor.meta["SRCHI2"] > result.meta["SRCHI2"] + 0.1

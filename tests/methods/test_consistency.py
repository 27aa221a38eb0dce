"""Consistency of results with their data, and the correction, against dense algebra."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from scipy import ndimage

from lenssr import LensSRWarning, SuperResolvedImage, register_method, superresolve
from lenssr.image import expand_mask, gaussian_psf, parse_image, target_psf
from lenssr.methods import (
    DataResidual,
    RegularisedInverse,
    Restoration,
    chi2_range,
    unregister_method,
)

SHAPE = (40, 44)
PSF = gaussian_psf(3.0)
SIGMA = 2.0


def fine(shape, scale=2, width=3.0, at=(20.3, 21.8), flux=3000.0):
    """A Gaussian in surface brightness at the pixels of the output."""
    y, x = ((np.arange(scale * n) + 0.5) / scale - 0.5 - c for n, c in zip(shape, at))
    return flux * np.exp(-(y[:, None] ** 2 + x**2) / 2 / width**2) / (2 * np.pi * width**2)


def observed(scene, seed=0, psf=PSF, scale=2, mask=None, sigma=SIGMA):
    """Observe a scene with noise, as a `LensImage`."""
    shape = tuple(n // scale for n in scene.shape)
    plane = parse_image(np.zeros(shape), uncertainty=sigma, psf=psf, unit="adu").planes[0]
    data = DataResidual(plane, scale).operator.forward(scene)
    data = data + np.random.default_rng(seed).normal(0, sigma, shape)
    return parse_image(data, uncertainty=sigma, psf=psf, unit="adu", mask=mask).planes[0]


@pytest.fixture
def method():
    """Register methods that return a function of the image, for one test."""
    def add(function, estimator=False, **fields):
        def restore(image, run):
            mean = function(image)
            return Restoration(
                mean=mean, measurement_std=np.ones(mean.shape), psf=target_psf(),
                mask=expand_mask(image.mask, run.scale),
                estimator=function if estimator else None, **fields)

        register_method("made_up", lambda: SimpleNamespace(restore=restore), overwrite=True)
        return "made_up"

    yield add
    unregister_method("made_up")


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_noise_about_the_right_answer(scale):
    scene = fine(SHAPE, scale)
    residual = DataResidual(observed(scene, scale=scale), scale)
    assert residual.chi2(scene) == pytest.approx(1, abs=4 * np.sqrt(2 / np.prod(SHAPE)))
    result = residual.chi2_map(scene)
    assert result.shape == scene.shape and np.mean(result) == pytest.approx(1, abs=0.15)
    # the scatter that its documentation states
    assert np.std(result) == pytest.approx(np.sqrt(2 * np.sum(PSF**2)), rel=0.35)


def test_without_blur_each_pixel_is_its_own_datum():
    """A PSF of one pixel, the same scale: the map is the squared residual itself."""
    plane = parse_image(np.random.default_rng(1).normal(0, 3, (9, 11)), uncertainty=1.5,
                        psf=gaussian_psf(0.1, 3), unit="adu").planes[0]
    residual = DataResidual(plane, 1)
    scene = np.full(plane.shape, 0.5)  # what no blur changes
    squares = ((plane.data - 0.5) / 1.5) ** 2
    np.testing.assert_allclose(residual.chi2_map(scene), squares, rtol=1e-9, atol=1e-12)
    assert residual.chi2(scene) == pytest.approx(squares.mean())


def test_chi2_map_locates_a_wrong_position():
    scene = fine(SHAPE)
    wrong = scene + fine(SHAPE, at=(8, 33), width=1.0, flux=200.0)
    result = DataResidual(observed(scene), 2).chi2_map(wrong)
    y, x = np.unravel_index(np.argmax(result), result.shape)
    assert np.hypot(y - 16.5, x - 66.5) < 3
    assert np.median(result) < 1.2


def test_masked_data_do_not_count():
    scene, mask = fine(SHAPE), np.zeros(SHAPE, bool)
    mask[5:20, 6:21] = True   # wider than the PSF
    clean, image = DataResidual(observed(scene), 2), observed(scene, mask=mask)
    image.data[mask] = 1e6
    data_residual = DataResidual(image, 2)
    assert data_residual.count == mask.size - 225
    squares = clean.residual(scene)[~mask] ** 2
    assert data_residual.chi2(scene) == pytest.approx(squares.mean())
    result, hole = data_residual.chi2_map(scene), np.isnan(data_residual.chi2_map(scene))
    assert hole[20:28, 22:30].all() and not hole[~expand_mask(mask, 2)].any()
    distant = np.s_[60:, :]
    np.testing.assert_allclose(result[distant], clean.chi2_map(scene)[distant], rtol=1e-9)


@pytest.mark.parametrize("flux", [0.0, 3e3, 3e5])
def test_stray_light_from_outside_does_not_count(flux):
    """Cut out of a larger image, with a source just outside; what is inside is right."""
    full = fine((60, 60), at=(29.2, 33.1)) + fine((60, 60), at=(11.5, 25.0), width=1.0, flux=flux)
    image = observed(full, seed=3)
    rows, scene = slice(14, 54), full[28:108]
    part = parse_image(image.data[rows], uncertainty=SIGMA, psf=PSF, unit="adu").planes[0]
    data_residual = DataResidual(part, 2)
    assert data_residual.chi2(scene) == pytest.approx(1, abs=3.5 * np.sqrt(2 / data_residual.count))
    # Little is left out, far from what shines, and none of it where nothing does.
    left_out = data_residual.weight == 0
    assert left_out.mean() < 0.1 and not left_out[12:].any()
    assert left_out.any() == (flux > 0)
    assert np.isfinite(data_residual.chi2_map(scene)).all()
    if flux == 3e5:
        naive = data_residual.residual(scene) + 0.0
        naive[left_out] = ((part.data - data_residual.operator.forward(scene)) / SIGMA)[left_out]
        assert np.mean(naive**2) > 10


def test_range():
    assert chi2_range(10**8) == pytest.approx((0.5, 1.2), abs=1e-3)
    assert chi2_range(2) == (0, 1.2 + 4)
    assert chi2_range(800, (0.9, 1.05)) == pytest.approx((0.7, 1.25))


@pytest.mark.parametrize("unit", ["nJy", "MJy/sr"])
def test_superresolve_adds_the_map(unit, tmp_path):
    """In either kind of unit; through a file, and through slices; and the second time."""
    scene = fine(SHAPE)
    plane = observed(scene)
    image = plane.data * u.Unit(unit)
    result = superresolve(image, "wiener", psf=PSF, uncertainty=SIGMA)
    fraction = 0.25 if unit == "nJy" else 1
    expected = DataResidual(plane, 2)
    np.testing.assert_allclose(result.consistency, expected.chi2_map(result.data / fraction),
                               rtol=1e-6)
    assert result.header["SRCHI2"] == pytest.approx(expected.chi2(result.data / fraction), rel=1e-4)
    assert "SRCHI2IN" not in result.header
    result.write(tmp_path / "result.fits")
    back = SuperResolvedImage.read(tmp_path / "result.fits")
    np.testing.assert_array_equal(back.consistency, result.consistency)
    assert back.header["SRCHI2"] == result.header["SRCHI2"]
    for item in (np.s_[3:9, 4:], np.s_[-20:, -31:-2], np.s_[::2, 1::3], np.s_[40:10:-1, ::-2]):
        np.testing.assert_array_equal(result[item].consistency, result.consistency[item])
    again = superresolve(result, "bilinear", scale=1)
    assert again.consistency is None and "SRCHI2" not in again.header


def test_cubes_have_a_map_for_each_band():
    planes = [observed(fine(SHAPE, flux=flux), k) for k, flux in enumerate((3000, 300))]
    psf = [gaussian_psf(3.0), gaussian_psf(3.5)]
    cube = superresolve(np.stack([p.data for p in planes]), "wiener", psf=psf, unit="adu",
                        uncertainty=SIGMA)
    alone = [superresolve(p.data, "wiener", psf=item, unit="adu", uncertainty=SIGMA)
             for p, item in zip(planes, psf)]
    for k, item in enumerate(alone):
        np.testing.assert_allclose(cube.consistency[k], item.consistency, rtol=1e-9)
    np.testing.assert_array_equal(cube[1, ::2, 3:].consistency, cube.consistency[1, ::2, 3:])
    pooled = np.mean([item.header["SRCHI2"] for item in alone])
    assert cube.header["SRCHI2"] == pytest.approx(pooled, rel=1e-4)


def test_single_precision_stays():
    result = superresolve(observed(fine(SHAPE)).data.astype(np.float32), "wiener", psf=PSF,
                          unit="adu", uncertainty=SIGMA)
    assert result.consistency.dtype == np.float32


def test_no_map_without_a_resolution(method):
    image = observed(fine(SHAPE)).data
    for function, psf in ((None, PSF), (lambda image: fine(SHAPE), None),
                          (lambda image: fine(SHAPE) * np.nan, PSF)):
        name = "bilinear" if function is None else method(function)
        result = superresolve(image, name, psf=psf, unit="adu", uncertainty=SIGMA)
        assert result.consistency is None and "SRCHI2" not in result.header


def test_disagreement_with_the_data_warns(method):
    scene = fine(SHAPE)
    options = {"psf": PSF, "unit": "adu", "uncertainty": SIGMA}
    with pytest.warns(LensSRWarning, match=r"reduced chi2 of .* expected 0.37 to 1.33: it contr"):
        result = superresolve(observed(scene).data, method(lambda image: 0.8 * scene), **options)
    assert "contradicts" in result.header["SRWARN1"] and result.header["SRCHI2"] > 1.33
    message = "it follows the noise of the data, or the noise is overestimated"
    with pytest.warns(LensSRWarning, match=message):
        superresolve(observed(scene, sigma=1.0).data, method(lambda image: scene), **options)
    with pytest.warns(LensSRWarning, match="of plane 1 has a reduced chi2"):
        superresolve(np.stack([observed(f * scene, k).data for k, f in enumerate((1, 0.8))]),
                     method(lambda image: scene), **options)
    with pytest.warns(LensSRWarning, match="expected 0.03 to 0.23"):
        superresolve(observed(scene).data, method(lambda image: scene, chi2_range=(0.165, 0.1)),
                     **options)


def filled():
    """Context that expects the warning of masked pixels."""
    return pytest.warns(LensSRWarning, match="1 masked pixels were filled")


def dense(residual, shape):
    """Matrix of the telescope, column by column."""
    columns = []
    for k in range(np.prod(shape)):
        image = np.zeros(shape)
        image.flat[k] = 1
        columns.append(residual.operator.forward(image).ravel())
    return np.array(columns).T


@pytest.fixture(scope="module")
def small():
    """Data of few pixels, one of them masked, with their dense telescope."""
    shape, rng = (7, 8), np.random.default_rng(5)
    mask = np.zeros(shape, bool)
    mask[2, 3] = True
    plane = parse_image(rng.normal(0, 9, shape), uncertainty=rng.uniform(1, 3, shape),
                        psf=gaussian_psf(2.0, 5), unit="adu", mask=mask).planes[0]
    residual = DataResidual(plane, 2)
    return residual, dense(residual, (14, 16))


@pytest.mark.parametrize("varying", [False, True])
def test_regularised_inverse_agrees_with_dense_algebra(small, varying):
    data_residual, matrix = small
    variance = np.random.default_rng(6).uniform(1, 50, (14, 16)) if varying else 30.0
    residual = data_residual.residual(np.zeros((14, 16)))
    result = RegularisedInverse(data_residual, variance)(residual)
    valid = data_residual.weight.ravel() > 0
    a, v = matrix[valid], np.broadcast_to(variance, (14, 16)).ravel()
    noise = data_residual.image.sigma.ravel()[valid] ** 2
    gain = v[:, None] * a.T @ np.linalg.inv(a * v @ a.T + np.diag(noise))
    expected = gain @ data_residual.image.data.ravel()[valid]
    np.testing.assert_allclose(result.ravel(), expected, atol=1e-5 * np.abs(expected).max())


def test_correction_is_the_nearest_on_the_noise_ball(method, small):
    """By the conditions of Karush, Kuhn and Tucker: the change is along the gradient of chi2."""
    data_residual, matrix = small
    start = np.full((14, 16), 4.0)
    with filled(), pytest.warns(LensSRWarning, match="cannot be run on noise realisations"):
        result = superresolve(
            data_residual.image.data, method(lambda image: start), unit="K",
            psf=data_residual.image.psf, uncertainty=data_residual.image.sigma,
            mask=data_residual.image.mask, data_consistent=True)
    assert data_residual.chi2(result.data) == pytest.approx(1, abs=2e-4)
    assert result.header["SRCHI2"] == pytest.approx(1, abs=2e-4)
    assert result.header["SRCHI2IN"] == pytest.approx(data_residual.chi2(start), rel=1e-4)
    change = (result.data - start).ravel()
    gradient = matrix.T @ (data_residual.residual(result.data) * data_residual.weight).ravel()
    cosine = change @ gradient / np.linalg.norm(change) / np.linalg.norm(gradient)
    assert cosine == pytest.approx(1, abs=1e-6)


def test_correction_is_the_nearest_in_units_of_predicted_errors(method, small):
    """The same, with pixels whose errors are said to be small kept the more."""
    data_residual, matrix = small
    start, std = np.full((14, 16), 4.0), np.random.default_rng(7).uniform(1, 9, (14, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)
        result = superresolve(
            data_residual.image.data, method(lambda image: start, predictive_std=std), unit="K",
            psf=data_residual.image.psf, uncertainty=data_residual.image.sigma,
            mask=data_residual.image.mask, data_consistent=True)
    assert data_residual.chi2(result.data) == pytest.approx(1, abs=2e-4)
    change = (result.data - start).ravel() / std.ravel() ** 2
    gradient = matrix.T @ (data_residual.residual(result.data) * data_residual.weight).ravel()
    cosine = change @ gradient / np.linalg.norm(change) / np.linalg.norm(gradient)
    assert cosine == pytest.approx(1, abs=1e-6)


def test_where_no_error_is_predicted_the_data_still_count(method, small):
    """Errors that leave nothing free where the data contradict: then all pixels count alike."""
    residual, _ = small
    std = np.full((14, 16), 1e-6)
    std[0, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)
        result = [superresolve(
            residual.image.data, method(lambda image: np.full((14, 16), 4.0), predictive_std=item),
            unit="K", psf=residual.image.psf, uncertainty=residual.image.sigma,
            mask=residual.image.mask, data_consistent=True).data
            for item in (std, np.ones((14, 16)))]
    assert residual.chi2(result[0]) == pytest.approx(1, abs=2e-4)
    np.testing.assert_allclose(*result, atol=1e-3)


def test_a_wrong_result_is_corrected(method):
    """A source in the wrong place and one too many: chi2 of one, flux kept, and nearer to truth."""
    scene = fine(SHAPE)
    wrong = fine(SHAPE, at=(20.8, 21.3)) + fine(SHAPE, at=(8, 33), width=1.5, flux=300.0)
    image, options = observed(scene), {"psf": PSF, "unit": "K", "uncertainty": SIGMA}
    with pytest.warns(LensSRWarning, match="contradicts"):
        before = superresolve(image.data, method(lambda image: wrong), **options)
    assert before.header["SRCHI2"] > 1.5
    after = superresolve(image.data, method(lambda image: wrong, estimator=True),
                         data_consistent=True, **options)
    assert after.header["SRCHI2"] == pytest.approx(1, abs=1e-3)
    truth, noise = scene.sum() / 4, SIGMA * np.sqrt(np.prod(SHAPE))
    assert abs(before.data.sum() / 4 - truth) > 2.5 * noise
    assert abs(after.data.sum() / 4 - truth) < 2 * noise
    errors = [np.sqrt(np.mean((item.data - scene) ** 2)) for item in (before, after)]
    assert errors[1] < 0.65 * errors[0]


def test_results_within_the_noise_ball_are_unchanged(method):
    scene = fine(SHAPE)
    image = observed(scene, seed=3)
    assert DataResidual(image, 2).chi2(scene) < 1
    options = {"psf": PSF, "unit": "K", "uncertainty": SIGMA, "data_consistent": True}
    result = superresolve(image.data, method(lambda image: scene), **options)
    np.testing.assert_array_equal(result.data, scene)
    np.testing.assert_array_equal(result.measurement_std, 1)
    assert result.header["SRCHI2"] == result.header["SRCHI2IN"] < 1


def test_measurement_error_of_a_corrected_result(method, small):
    """A method that ignores the data has the error of the correction, by dense algebra."""
    data_residual, matrix = small
    start, image = np.full((14, 16), 4.0), data_residual.image

    def restore(image):
        return start

    name = method(restore, estimator=True, metadata={"n_probes": 64})
    with filled():
        result = superresolve(image.data, name, psf=image.psf, unit="K", uncertainty=image.sigma,
                              mask=image.mask, data_consistent=True)
    # the multiplier, from the change and its direction
    change = result.data - start
    residual = data_residual.residual(result.data)
    gradient = data_residual.operator.adjoint(residual * data_residual.weight)
    mu = np.sum(change * gradient) / np.sum(gradient**2)
    valid = data_residual.weight.ravel() > 0
    a, noise = matrix[valid], image.sigma.ravel()[valid] ** 2
    gain = mu * a.T @ np.linalg.inv(mu * a @ a.T + np.diag(noise))
    variance = np.diag(gain * noise @ gain.T).reshape(14, 16)
    expected = np.sqrt(ndimage.gaussian_filter(variance, 1))  # as the estimate is smoothed
    np.testing.assert_allclose(result.measurement_std, expected, rtol=0.2)
    assert np.mean(result.measurement_std) == pytest.approx(np.mean(expected), rel=0.04)
    assert result.correlation.kernels.shape == (1, 2, 49, 49) and result.header["SRNPROBE"] == 64


def test_a_predictive_error_is_kept_with_a_warning(method, small):
    residual, _ = small
    image, start = residual.image, np.zeros((14, 16))
    with filled(), pytest.warns(LensSRWarning, match="calibrated on uncorrected results"):
        result = superresolve(
            image.data, method(lambda image: start, estimator=True, predictive_std=start + 5,
                               samples=start[None] + 1), psf=image.psf, unit="K",
            uncertainty=image.sigma, mask=image.mask, data_consistent=True)
    total = result.uncertainty.array
    np.testing.assert_allclose(total, np.maximum(5, result.measurement_std))
    assert not np.allclose(result.samples, 1)


def test_result_without_a_possible_correction_is_unchanged(method):
    """A noise that is four times the stated one: only its smooth part could be followed."""
    scene = fine(SHAPE)
    image = observed(scene, sigma=4 * SIGMA)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = superresolve(image.data, method(lambda image: scene), psf=PSF, unit="K",
                              uncertainty=SIGMA, data_consistent=True)
    records = [str(item.message) for item in caught]
    assert len(records) == 2
    assert "does not change the result" in records[0] and "contrad" in records[1]
    np.testing.assert_array_equal(result.data, scene)


@pytest.mark.parametrize("name", ["wiener", "richardson_lucy"])
def test_correction_of_methods(name):
    """A PSF that is too broad makes them wrong; what comes out has errors and a correlation."""
    image = observed(fine(SHAPE, width=1.5, flux=9000), psf=gaussian_psf(2.2))
    options = {"n_iter": 6, "n_probes": 4} if name == "richardson_lucy" else {}
    provided = {"psf": gaussian_psf(2.2), "unit": "K", "uncertainty": 0.7 * SIGMA, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSRWarning)
        plain = superresolve(image.data, name, **provided)
    moved = superresolve(image.data, name, data_consistent=True, **provided)
    assert plain.header["SRCHI2"] > 1
    assert moved.header["SRCHI2"] == pytest.approx(1, abs=1e-3)
    assert moved.measurement_std.mean() > plain.measurement_std.mean()
    assert moved.correlation.kernels.shape == (1, 2, 49, 49)


def test_bad_arguments(method):
    image = observed(fine(SHAPE)).data
    options = {"unit": "adu", "uncertainty": SIGMA, "data_consistent": True}
    with pytest.raises(ValueError, match="`psf` must be given for `data_consistent`, got None"):
        superresolve(image, method(lambda image: fine(SHAPE)), **options)
    with pytest.raises(ValueError, match="`data_consistent` must be False for method 'bilinear'"):
        superresolve(image, "bilinear", psf=PSF, **options)

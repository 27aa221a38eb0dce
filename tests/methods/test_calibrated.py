"""Predicted total errors of networks: lower bound, tiles, and the training domain."""

import json
import warnings

import numpy as np
import pytest
import torch
from astropy import units as u
from photutils.aperture import CircularAperture

import lenssr
from lenssr import superresolve
from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import RunOptions, image_features, make_method
from lenssr.networks import ErrorHead, build_network, negative_log_likelihood
from lenssr.uncertainty import (
    CROWDING_KNOTS,
    DOMAIN_FEATURES,
    MAX_LAG,
    SNR_KNOTS,
    conformal_factor,
    domain_inflation,
    feature_envelope,
    inflate_isolated_peaks,
    to_quadrant,
)
from lenssr.weights import error_file, load_error_head, read_card, save_calibrated, save_network

NETWORKS = {
    "fast": (dict(architecture="fast", channels=1, scale=2, blocks=1, features=4, conditions=5), 5),
    "unrolled": (dict(architecture="unrolled", channels=1, scale=[2, 3], iterations=1, blocks=1,
                      features=4, memory=2), 2)}
PSF = gaussian_psf(4.0)
FACTORS = [[row * column for column in (1.0, 1.1, 1.3, 1.6, 2.0)]
           for row in (1.5, 2.0, 2.5, 3.0, 3.5)]  # by signal to noise, and crowding
ANYTHING = {name: [-1e9, 1e9] for name in DOMAIN_FEATURES}
LAG = np.hypot(*np.mgrid[-MAX_LAG:MAX_LAG + 1, -MAX_LAG:MAX_LAG + 1])
CORRELATION = {name: to_quadrant(np.exp(-LAG / length))
               for name, length in (("faint", 3), ("bright", 1))}

# Untrained networks disagree with the data.
pytestmark = pytest.mark.filterwarnings("ignore:the result.*has a reduced chi2")


def head_of(scale, caught, seed=1):
    """Make an error head with random weights."""
    torch.manual_seed(seed)
    head = ErrorHead(scale, caught, features=4, blocks=1, residual=True)
    with torch.no_grad():
        for tail in head.tails.values():
            tail.weight += 0.2 * torch.randn_like(tail.weight)
            tail.bias += 2.0
    return head


def calibrated(folder, name, domain=ANYTHING, factors=FACTORS):
    """Write calibrated weights to a folder."""
    config, caught = NETWORKS[name]
    folder.mkdir(exist_ok=True)
    torch.manual_seed(2)
    plain = folder / "small.safetensors"
    save_network(plain, build_network(**config), name="small", network=config)
    head = head_of(config["scale"], caught)
    scales = config["scale"] if isinstance(config["scale"], list) else [config["scale"]]
    return save_calibrated(plain, folder, head, {
        "on": "hsc-hst", "domain": domain, "scales": {
            str(s): {"factors": factors, "correlation": CORRELATION} for s in scales},
        "head": dict(scale=config["scale"], conditions=caught, features=4, blocks=1,
                     residual=True)})


@pytest.fixture(scope="module", params=NETWORKS)
def weights(request, tmp_path_factory):
    return request.param, calibrated(tmp_path_factory.mktemp("weights"), request.param)


def plane(shape=(70, 60), noise=0.5):
    rng = np.random.default_rng(3)
    sigma = noise * rng.uniform(1, 2, shape)
    data, mask = sigma * rng.normal(size=shape), rng.random(shape) < 0.02
    data[shape[0] // 2, shape[1] // 3] += 300 * noise
    return LensImage(np.where(mask, 0.0, data), sigma, mask, PSF, noise)


def restore(weights, image, tile=None, scale=2, probes=1):
    name, path = weights
    method = make_method(name, scale, {"weights": path, "n_probes": probes})
    return method.restore(image, RunOptions(scale, tile=tile))


@pytest.mark.filterwarnings("ignore:.*masked pixels were filled")
def test_sums_have_total_errors(weights):
    image, (name, path) = plane(), weights
    result = superresolve(image.data * u.adu, name, psf=PSF, uncertainty=image.sigma,
                          mask=image.mask, weights=path, n_probes=1)
    aperture = CircularAperture((90, 100), 6)
    error = result.aperture_sum(aperture).error.value
    # By hand: the two parts of either error, pixel by pixel.
    weight = aperture.to_mask(method="exact").to_image(result.shape) * ~result.mask
    inside = np.argwhere(weight > 0)
    lags = np.abs(inside[:, None] - inside[None])
    variance = 0.0
    for k, std in enumerate((result.measurement_std, result.prior_std)):
        level = result.correlation.levels[k]
        for part, kernel in zip((np.minimum(std, level),
                                 np.sqrt(np.maximum(std**2 - level**2, 0))),
                                result.correlation.kernels[k]):
            amplitude = (weight * part)[weight > 0]
            variance += amplitude @ kernel[MAX_LAG + lags[..., 0],
                                           MAX_LAG + lags[..., 1]] @ amplitude
    assert error == pytest.approx(np.sqrt(variance), rel=0.02)
    np.testing.assert_allclose(result.correlation.kernels[1, 0], np.exp(-LAG / 3), atol=1e-4)
    assert error > aperture.do_photometry(result.data, error=result.uncertainty.array)[1][0]


def test_tiles_change_nothing(weights):
    image = plane()
    full, tiled = (restore(weights, image, tile) for tile in (None, 16))
    assert full.predictive_std.shape == full.mean.shape
    np.testing.assert_allclose(tiled.predictive_std, full.predictive_std, rtol=2e-3)


def test_halo_is_the_field_of_view_of_the_head():
    head, rng = head_of(2, 5).double().eval(), torch.Generator().manual_seed(0)
    planes = [torch.randn(1, 1, 40 * k, 40 * k, generator=rng, dtype=torch.float64)
              for k in (2, 1, 1)]
    caught = torch.ones(1, 5, dtype=torch.float64)
    planes.append(torch.randn(1, 1, 40, 40, generator=rng, dtype=torch.float64))
    before = head(*planes[:3], caught, planes[3])
    for k, plane_ in enumerate(planes):
        plane_[..., : 20 * (2 if k == 0 else 1)] += 1.0
    differs = head(*planes[:3], caught, planes[3]) != before
    changed = differs.any(dim=-2)[0, 0].nonzero().max().item()
    # The last column of the output that sees the change is in the last input pixel that does.
    assert 20 <= changed // 2 <= 19 + head.halo


def test_measurement_error_is_at_most_the_total_error(weights, tmp_path):
    low = weights[0], calibrated(tmp_path / "low", weights[0], factors=[[1e-9] * 5] * 5)
    high = weights[0], calibrated(tmp_path / "high", weights[0], factors=[[1e9] * 5] * 5)
    image = plane()
    cut, free = (restore(item, image) for item in (low, high))
    np.testing.assert_array_equal(cut.predictive_std, cut.measurement_std)
    assert (free.predictive_std > free.measurement_std).all()
    assert (free.measurement_std > cut.measurement_std).all()
    # The whole error does not depend on the probes.
    more = restore(high, image, probes=2)
    np.testing.assert_array_equal(more.predictive_std, free.predictive_std)


def test_inflation_of_isolated_peaks_by_hand():
    std, measured = np.full(5, 2.0), np.array([8.0, 8.0, 8.0, 8.0, 1.0])
    value = np.array([3.9, 5.0, 6.0, -60.0, 60.0])
    # Nothing stands out below two; from three on it is the mean of the logarithms.
    expected = [2.0, 2 * 4**0.25, 4.0, 4.0, 2.0]
    np.testing.assert_allclose(inflate_isolated_peaks(std, measured, value), expected)


def test_inflation_raises_errors_of_isolated_peaks(weights, tmp_path):
    name, path = weights
    card = json.loads(path.with_suffix(".json").read_text())
    card["calibration"]["inflate_isolated_peaks"] = True
    for file in (path, error_file(path)):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / path.name).with_suffix(".json").write_text(json.dumps(card))
    image = plane()
    plain, raised = (restore((name, item), image, probes=4)
                     for item in (path, tmp_path / path.name))
    np.testing.assert_array_equal(raised.mean, plain.mean)
    assert (raised.predictive_std >= plain.predictive_std).all()
    more = raised.predictive_std > 1.001 * plain.predictive_std
    assert 0 < more.mean() < 0.5
    # A part is cut where it is larger than the whole, which now is later.
    assert (raised.measurement_std >= plain.measurement_std).all()


@pytest.mark.parametrize("shape", [(5, 5), (7, 31), (64, 1)])
def test_images_of_any_size(weights, shape):
    rng = np.random.default_rng(0)
    image = LensImage(rng.normal(size=shape), np.ones(shape), np.zeros(shape, bool), PSF, 1.0)
    result = restore(weights, image)
    assert np.isfinite(result.predictive_std).all() and (result.predictive_std > 0).all()


def test_error_scales_with_the_unit(weights):
    name, path = weights
    image = plane((40, 40))
    first, second = (superresolve(factor * image.data * unit, name, psf=PSF, weights=path,
                                  n_probes=2, uncertainty=factor * image.sigma)
                     for factor, unit in ((1.0, u.adu), (1e-3, u.nJy)))
    np.testing.assert_allclose(1e3 * second.uncertainty.array, first.uncertainty.array, rtol=1e-4)


def test_header_names_the_error(weights):
    name, path = weights
    data = np.stack([plane((20, 20)).data] * 2)
    result = superresolve(data * u.adu, name, psf=PSF, uncertainty=0.5, weights=path, n_probes=1)
    assert result.header["SRCALIB"] == "predictive"
    assert result.header["SRCALON"] == "hsc-hst"
    assert result.header["SRINFLAT"] == 1.0
    assert result.shape == result.prior_std.shape == (2, 40, 40)
    np.testing.assert_allclose(np.hypot(result.prior_std, result.measurement_std),
                               result.uncertainty.array, rtol=1e-5)


def test_network_without_a_calibration(tmp_path):
    path = calibrated(tmp_path, "fast")
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(path.read_bytes())
    card = json.loads(path.with_suffix(".json").read_text())
    # As those of earlier versions.
    del card["calibration"]
    plain.with_suffix(".json").write_text(json.dumps(card))
    assert read_card(plain).calibration == {} and load_error_head(plain) is None
    image = dict(psf=PSF, uncertainty=0.5, n_probes=2)
    first, second = (superresolve(plane((20, 20)).data * u.adu, "fast", weights=file, **image)
                     for file in (plain, path))
    assert first.header["SRCALIB"] == "measurement" and "SRINFLAT" not in first.header
    assert first.prior_std is None
    np.testing.assert_array_equal(first.uncertainty.array, first.measurement_std)
    np.testing.assert_array_equal(first.data, second.data)
    assert (second.measurement_std <= first.measurement_std).all()


def test_card_and_head_come_back(tmp_path):
    path = calibrated(tmp_path, "fast")
    card, head = read_card(path), load_error_head(path)
    assert card.calibration["scales"]["2"]["factors"] == FACTORS
    assert card.calibration["parameters"] == sum(p.numel() for p in head.parameters())
    caught = head_of(2, 5).state_dict()
    for name, value in head.state_dict().items():
        torch.testing.assert_close(value, caught[name].half().float(), rtol=0, atol=0)


@pytest.mark.parametrize(("change", "message"), [
    (lambda file: file.unlink(), "has a calibration, and small-error.safetensors is not beside"),
    (lambda file: file.write_bytes(file.read_bytes()[:-2]), "small-error.safetensors is damaged"),
])
def test_damaged_head(tmp_path, change, message):
    path = calibrated(tmp_path, "fast")
    change(error_file(path))
    with pytest.raises(ValueError, match=message):
        restore(("fast", path), plane())


def test_factor_equals_the_cell_and_is_smooth_between():
    positions = np.meshgrid(SNR_KNOTS, CROWDING_KNOTS, indexing="ij")
    np.testing.assert_allclose(conformal_factor(*positions, FACTORS), FACTORS)
    ends = conformal_factor(np.array([0.0, 1e9]), np.array([0.0, 1.0]), FACTORS)
    np.testing.assert_allclose(ends, [1.5, 7.0])
    centre = [np.sqrt([knots[1] * knots[2]]) for knots in (SNR_KNOTS, CROWDING_KNOTS)]
    result = conformal_factor(*centre, FACTORS)
    np.testing.assert_allclose(result, np.sqrt(2.0 * 2.5) * np.sqrt(1.1 * 1.3))


@pytest.mark.slow
def test_likelihood_is_minimal_at_the_mean_square():
    error = torch.randn(100000, generator=torch.Generator().manual_seed(0)) * 3
    tried = torch.linspace(1, 4, 301)
    result = [negative_log_likelihood(torch.full_like(error, t), error).item() for t in tried]
    assert tried[int(np.argmin(result))].exp().item() == pytest.approx(9, rel=0.02)


def sky(shape=(60, 60), peak=100.0, width=4.0, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=shape)
    psf = gaussian_psf(width)
    y, x = np.indices(shape) - np.array(shape)[:, None, None] // 2
    data += peak * np.exp(-(x**2 + y**2) / 18)
    return LensImage(data, np.ones(shape), np.zeros(shape, bool), psf, 1.0)


@pytest.fixture(scope="module")
def domain():
    """Feature ranges of sixty images of one type."""
    rng = np.random.default_rng(1)
    return feature_envelope([image_features(sky(peak=rng.uniform(20, 200), width=rng.uniform(3, 5),
                                                seed=k))
                             for k in range(60)])


def test_no_warning_inside_the_domain(domain):
    for k in range(200, 220):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert domain_inflation(image_features(sky(peak=100, seed=k)), domain) == 1.0


@pytest.mark.parametrize(("image", "words"), [
    (sky(width=9.0), "the FWHM of the PSF in pixels is 9.02, outside the range"),
    (sky(peak=3000.0), r"the peak over the noise is 3e\+03, outside"),
])
def test_warning_outside_the_domain_has_the_range(domain, image, words):
    with pytest.warns(lenssr.LensSRWarning, match=words) as caught:
        assert domain_inflation(image_features(image), domain) > 1
    assert all("errors are multiplied by" in str(w.message) for w in caught)


def test_saturated_and_correlated_images_warn(domain):
    image = sky()
    flat = np.minimum(image.data, 70.0)
    smooth = np.random.default_rng(1).normal(size=(62, 62))
    smooth = sum(smooth[i:i + 60, j:j + 60] for i in range(3) for j in range(3)) / 3
    negative = image.data.copy()
    negative[20:24, 20:24] = -30.0
    for data, words in ((flat, "as bright as the brightest"), (negative, "far below the sky"),
                        (smooth + image.data - sky(peak=0.0).data, "correlation of the noise")):
        bad = LensImage(data, image.sigma, image.mask, image.psf, 1.0)
        with pytest.warns(lenssr.LensSRWarning) as caught:
            assert domain_inflation(image_features(bad), domain) > 1
        assert any(words in str(w.message) for w in caught)


@pytest.mark.filterwarnings("ignore::lenssr.LensSRWarning")
def test_factor_grows_with_the_distance(domain):
    factors = [domain_inflation(image_features(sky(width=width)), domain)
               for width in (4.0, 6.0, 8.0, 12.0)]
    assert factors[0] == 1 and (np.diff(factors) > 0).all()
    # One more for each width of the range, in the logarithm.
    low, high = np.log(domain["psf_fwhm"])
    assert factors[3] - factors[2] == pytest.approx(np.log(12 / 8) / (high - low), rel=0.05)


def test_errors_of_an_image_outside_are_larger(tmp_path, domain):
    inside = calibrated(tmp_path / "in", "fast")
    outside = calibrated(tmp_path / "out", "fast", {**ANYTHING, "psf_fwhm": [1.0, 2.0]})
    image = sky()
    first = restore(("fast", inside), image)
    with pytest.warns(lenssr.LensSRWarning, match="the FWHM of the PSF in pixels is 3.99"):
        second = restore(("fast", outside), image)
    factor = second.metadata["inflation"]
    assert factor == pytest.approx(2.0, abs=0.02)  # from 2 to 4 is as far as from 1 to 2
    np.testing.assert_allclose(second.predictive_std, factor * first.predictive_std, rtol=1e-3)
    assert (second.measurement_std >= first.measurement_std).all()

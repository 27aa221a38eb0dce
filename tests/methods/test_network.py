"""Networks as methods: tiles, masks, noise units and damaged weights."""

import json

import numpy as np
import pytest
import torch
from astropy import units as u
from photutils.aperture import CircularAperture

import lenssr
from lenssr import list_methods, superresolve
from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import RunOptions, make_method
from lenssr.networks import build_network
from lenssr.weights import load_network, save_network

SIZES = dict(architecture="rcan", channels=1, scale=2, groups=2, blocks=2, features=8,
             reduction=4, window=8, conditions=5)
PSF = gaussian_psf(4.0)
# Untrained as they are, these networks explain no data.
pytestmark = pytest.mark.filterwarnings("ignore:the result has a reduced chi2")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small untrained network."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_network(path, build_network(**SIZES), name="small", network=SIZES)
    return path


def plane(shape=(100, 90), noise=0.5, bright=300.0):
    rng = np.random.default_rng(3)
    data = rng.normal(0, noise, shape)
    data[shape[0] // 2, shape[1] // 3] += bright * noise
    return LensImage(data, np.full(shape, noise), np.zeros(shape, bool), PSF, noise)


def test_tiles_change_nothing(weights):
    image = plane()
    full, tiled = (make_method("rcan", 2, {"weights": weights, "n_probes": 1}).restore(
        image, RunOptions(2, tile=tile)) for tile in (None, 16))
    assert np.abs(full.mean - tiled.mean).max() < 1e-5 * image.noise
    assert np.abs(full.measurement_std - tiled.measurement_std).max() < 1e-5 * image.noise


def test_noise_units(weights):
    # The same sky in other units, with a sky that was not subtracted.
    data = plane().data
    first, second = (superresolve(values * unit, "rcan", psf=PSF, uncertainty=noise,
                                  weights=weights, n_probes=2)
                     for values, unit, noise in ((data, u.adu, 0.5),
                                                 (1e-3 * data + 7, u.nJy, 5e-4)))
    # The level of the sky is estimated, to a fraction of its noise.
    np.testing.assert_allclose(1e3 * (second.data - 7 / 4), first.data, rtol=0, atol=0.02)
    np.testing.assert_allclose(1e3 * second.uncertainty.array, first.uncertainty.array, rtol=0.05)


def test_masked_values_have_no_effect(weights):
    data, mask = plane().data, np.zeros((100, 90), bool)
    mask[40:43, 50] = True
    results = []
    for value in (0.0, 1e30, np.nan):
        image = data.copy()
        image[mask] = value
        with pytest.warns(lenssr.LensSRWarning, match="3 masked pixels"):
            results.append(superresolve(image * u.adu, "rcan", psf=PSF, uncertainty=0.5, mask=mask,
                                        weights=weights, n_probes=1))
    for result in results[1:]:
        np.testing.assert_array_equal(result.data, results[0].data)
    np.testing.assert_array_equal(results[0].mask, np.kron(mask, np.ones((2, 2), bool)))


def test_header_names_the_weights(weights):
    result = superresolve(plane().data * u.adu, "rcan", psf=PSF, uncertainty=0.5, weights=weights,
                          n_probes=1, seed=5)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert result.header["SRWEIGHT"] == card["sha256"][:16]
    assert result.header["SRSEED"] == 5
    assert result.header["SRPSF"] == "target"


def test_seed_repeats(weights):
    first, two, three = (superresolve(plane().data * u.adu, "rcan", psf=PSF, uncertainty=0.5,
                                      weights=weights, n_probes=2, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.uncertainty.array, two.uncertainty.array)
    assert np.abs(first.uncertainty.array - three.uncertainty.array).max() > 0


def test_probes_follow_the_noise(weights):
    # To first order the network is linear, so that its error is proportional to the noise.
    shape, errors = (32, 32), []
    for noise in (1e-3, 2e-3):
        image = LensImage(np.zeros(shape), np.full(shape, noise), np.zeros(shape, bool), PSF, 1.0)
        method = make_method("rcan", 2, {"weights": weights, "n_probes": 4})
        errors.append(method.restore(image, RunOptions(2)).measurement_std)
    np.testing.assert_allclose(errors[1], 2 * errors[0], rtol=1e-2)


def test_fluxes_scatter_by_their_error(weights):
    rng, apertures = np.random.default_rng(8), CircularAperture([(60, 60), (100, 110)], r=7)
    fluxes = []
    for _ in range(60):
        data = rng.normal(0, 0.5, (80, 80)) * u.adu
        result = superresolve(data, "rcan", psf=PSF, uncertainty=0.5,
                              weights=weights, n_probes=1 if fluxes else 8)
        if not fluxes:
            error = result.aperture_sum(apertures).error.value
        fluxes.append(apertures.do_photometry(result.data)[0])
    scatter = np.sqrt(np.mean(np.var(fluxes, axis=0)))  # of 120 fluxes: to 7 %
    assert np.mean(error) == pytest.approx(scatter, rel=0.25)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_precisions_agree(weights, precision):
    results = [superresolve(plane().data * u.adu, "rcan", psf=PSF, uncertainty=0.5, weights=weights,
                            n_probes=1, precision=p).data for p in ("float32", precision)]
    tolerance = 1e-4 if precision == "float64" else 0.2
    np.testing.assert_allclose(*results, rtol=0, atol=tolerance)


def damaged(weights, tmp_path, change):
    path = tmp_path / "bad.safetensors"
    content, card = weights.read_bytes(), json.loads(weights.with_suffix(".json").read_text())
    content, card = change(content, card)
    path.write_bytes(content)
    if card is not None:
        path.with_suffix(".json").write_text(card if isinstance(card, str) else json.dumps(card))
    return path


@pytest.mark.parametrize(("change", "message"), [
    (lambda c, card: (c[:-9], card), "is damaged: its sha256"),
    (lambda c, card: (c, None), "has no card"),
    (lambda c, card: (c, "{"), "is not a card"),
    (lambda c, card: (c, {**card, "colour": 1}), "is not a card"),
    (lambda c, card: (c, {**card, "network": {**SIZES, "features": 16}}), "does not fit"),
    (lambda c, card: (c, {**card, "network": {**SIZES, "architecture": "x"}}),
     "must be of architecture 'rcan'"),
])
def test_bad_weights(weights, tmp_path, change, message):
    path = damaged(weights, tmp_path, change)
    with pytest.raises(ValueError, match=message):
        superresolve(plane().data * u.adu, "rcan", psf=PSF, uncertainty=0.5, weights=path)


def test_no_such_weights():
    with pytest.raises(FileNotFoundError, match="`weights` must be the name of shipped"):
        load_network("nowhere")


@pytest.mark.parametrize(("options", "message"), [
    ({"n_probes": 0}, "`n_probes` must be a positive integer, got 0"),
    ({"precision": "int8"}, "`precision` must be one of"),
    ({"weight": "x"}, "unknown option `weight`.*did you mean `weights`"),
])
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_method("rcan", 2, options)


def test_weights_of_another_scale(weights):
    with pytest.raises(ValueError, match="`scale` must be 2, for which the weights 'small'"):
        superresolve(plane().data * u.adu, "rcan", psf=PSF, uncertainty=0.5, weights=weights,
                     scale=3)


def test_no_psf_warns(weights):
    with pytest.warns(lenssr.LensSRWarning, match="no `psf` was given"):
        superresolve(plane().data * u.adu, "rcan", uncertainty=0.5, weights=weights, n_probes=1)


@pytest.mark.parametrize("fwhm", [1.5, 12.0])
def test_psf_outside_the_training_warns(weights, fwhm):
    with pytest.warns(lenssr.LensSRWarning, match="outside the range of the training"):
        superresolve(plane().data * u.adu, "rcan", psf=fwhm * u.pix, uncertainty=0.5,
                     weights=weights, n_probes=1)


@pytest.mark.parametrize("name", ["srcnn", "fsrcnn", "fsrcnn_equivariant", "fsrcnn_hybrid", "edsr",
                                  "rdn", "srresnet", "srgan", "fast"])
def test_network_with_user_weights(name, tmp_path):
    from lenssr.networks import build_network
    from lenssr.weights import save_network

    rows = list_methods()
    row = rows[list(rows["name"]).index(name)]
    assert row["family"] == "network" and row["reference"].startswith("arXiv:")
    image = dict(uncertainty=1.0, unit="adu", psf=gaussian_psf(3.6, 15))
    if row["scales"] == "none":
        with pytest.raises(ValueError, match=f"`weights` must be given for method '{name}'"):
            superresolve(np.eye(12), name, **image)
    config = dict(architecture=name, channels=1, scale=3, conditions=5)
    small = {"srcnn": dict(features=(8, 4)), "edsr": dict(blocks=1, features=8),
             "rdn": dict(blocks=1, layers=2, growth=8, features=8), "fast": dict(blocks=1),
             "srresnet": dict(blocks=1, features=8), "srgan": dict(blocks=1, features=8)}.get(
                 name, dict(d=4, s=2, m=1))
    path = tmp_path / "own.safetensors"
    save_network(path, build_network(**config, **small), name="own", network={**config, **small})
    result = superresolve(np.eye(12), name, scale=3, weights=path, n_probes=1, **image)
    assert result.shape == (36, 36) and np.isfinite(result.data).all()

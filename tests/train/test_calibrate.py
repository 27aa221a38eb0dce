"""Calibration of a network: resumed, repeated, written down, and used."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lenssr import superresolve
from lenssr.cli import main
from lenssr.image import LensImage, gaussian_psf, psf_fwhm, widened_psf
from lenssr.methods import DataResidual, ForwardModel, make_method
from lenssr.networks import build_network
from lenssr.simulate import simulate_catalog, simulate_pair
from lenssr.train import (
    Calibration,
    Data,
    calibrate,
    fit,
    open_calibration_images,
    perturb_observation,
    rest_correlation,
    restore_images,
)
from lenssr.uncertainty import sky_level
from lenssr.weights import error_file, find_weights, load_error_head, read_card, save_network

SMALL = dict(images=20, blank=8, held_out=6, steps=4, batch=4, features=4, blocks=1, n_probes=1)


@pytest.fixture(scope="module")
def weights(recipe, tmp_path_factory):
    return fit(recipe, tmp_path_factory.mktemp("plain"), device="cpu", progress=False)


@pytest.fixture(scope="module")
def whole(weights, tmp_path_factory):
    """A calibration in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return calibrate(weights, folder, device="cpu", progress=False, **SMALL)


def contents(path):
    """Head, and card without its time."""
    card = json.loads(path.with_suffix(".json").read_text())
    del card["calibration"]["hours"]
    return error_file(path).read_bytes(), card


def test_weights_stay_and_the_card_has_all(weights, whole):
    assert whole.read_bytes() == weights.read_bytes()
    before, after = read_card(weights), read_card(whole)
    assert dataclasses.replace(after, calibration={}) == before
    found = after.calibration
    assert found["on"] == "hsc-hst" and found["config"]["noise_error"] == 0.03
    assert set(found["scales"]) == {"2"}
    scale = found["scales"]["2"]
    assert np.shape(scale["factors"]) == (5, 5) and np.min(scale["factors"]) > 0
    assert scale["chi2"] == sorted(scale["chi2"]) and scale["chi2"][0] > 0
    for name in ("faint", "bright"):
        kernel = np.array(scale["correlation"][name])
        assert kernel.shape == (25, 25) and kernel[0, 0] == 1
        np.testing.assert_array_equal(kernel, kernel.T)
    for low, high in found["domain"].values():
        assert low < high
    assert load_error_head(whole) is not None


def test_calibration_covers(whole):
    """On the images that told nothing of the factors; the network itself is next to untrained."""
    found = read_card(whole).calibration["scales"]["2"]
    off = {name: np.abs(np.array(found[name]["all"]) - (0.683, 0.954)).max()
           for name in ("coverage", "measurement")}
    assert off["coverage"] < 0.15 < off["measurement"]


@pytest.mark.filterwarnings("ignore::lenssr.LensSRWarning")  # of so few, the domain is small
def test_result_is_predictive(whole):
    pair = simulate_pair(substructure="no_sub", seed=77, size=24)
    result = superresolve(pair.lr, "rcan", weights=whole, n_probes=2)
    assert result.header["SRCALIB"] == "predictive"
    assert (result.uncertainty.array >= result.measurement_std * (1 - 1e-6)).all()
    assert (result.uncertainty.array > 1.01 * result.measurement_std).any()


@pytest.mark.parametrize("stage", ["_restore", "_correlations"])
def test_interrupted_calibration_equals_one_in_one_go(weights, whole, tmp_path, monkeypatch, stage):
    """Stopped among the images, or when all but the last is done; the head's own run is resumed
    to the bit in its own test."""
    user, left = {"_restore": (restore_images, [22]),
                  "_correlations": (rest_correlation, [0])}[stage]
    real = user.__globals__[stage]

    def stops(*args):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setitem(user.__globals__, stage, stops)
        with pytest.raises(KeyboardInterrupt):
            calibrate(weights, tmp_path, device="cpu", progress=False, **SMALL)
    assert not (tmp_path / whole.name).exists()
    path = calibrate(weights, tmp_path, device="cpu", progress=False, **SMALL)
    assert contents(path) == contents(whole)
    assert not list(tmp_path.glob("**/.*"))


def test_folder_of_another_calibration(weights, whole, tmp_path):
    folder = shutil.copytree(whole.parent, tmp_path / "there")
    with pytest.raises(ValueError, match="`folder` must be new .* another `steps`, 4"):
        calibrate(weights, folder, progress=False, **{**SMALL, "steps": 5})


@pytest.mark.parametrize(("options", "words"), [
    ({"seed": 1}, "`seed` must differ from the seeds of the training, 1 and 3, got 1"),
    ({"steps": 0}, "`steps` must be a positive integer, got 0"),
    ({"noise_error": -0.1}, "`noise_error` must be from 0 to 0.5, got -0.1"),
    ({"blank": -1}, "`blank` must be"),
    ({"psf_error": 2.0}, "`psf_error` must be from 0 to 0.5, got 2.0"),
    ({"p_masked": -1}, "`p_masked` must be from 0 to 1, got -1"),
    ({"learning_rate": 0}, "`learning_rate` must be a positive number"),
    ({"precision": "half"}, "`precision` must be one of auto, float32, bfloat16, got 'half'"),
])
def test_bad_options(weights, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        calibrate(weights, tmp_path / "none", progress=False, **options)
    assert not (tmp_path / "none").exists()


def test_weights_without_a_recipe_need_one(recipe, tmp_path):
    path = tmp_path / "bare.safetensors"
    save_network(path, build_network(**recipe.network), name="bare", network=recipe.network)
    with pytest.raises(ValueError, match="`recipe` must be given for weights without one"):
        calibrate(path, tmp_path / "none", progress=False)
    found = calibrate(path, tmp_path / "made", recipe=recipe, device="cpu", progress=False, **SMALL)
    assert read_card(found).calibration["on"] == "hsc-hst"


def test_command(weights, whole, tmp_path, capsys, monkeypatch):
    set_options = Calibration.__init__

    def small(config, **options):
        set_options(config, **{**SMALL, **options})

    monkeypatch.setattr(Calibration, "__init__", small)
    status = main(["calibrate", str(weights), "--out", str(tmp_path), "--device", "cpu",
                   "--steps", "4", "--seed", "5"])
    out = capsys.readouterr().out
    assert status == 0
    assert out.splitlines()[-1] == str(tmp_path / "tiny.safetensors")
    assert out.startswith("pixels within 1 and 2 sigma at scale 2")
    assert contents(tmp_path / "tiny.safetensors") == contents(whole)


def test_pairs_of_a_catalogue(recipe, tmp_path):
    """Trained on one share of it, calibrated on the other."""
    simulate_catalog(tmp_path / "pairs", 20, size=16, engine="torch", substructure=("no_sub",),
                     progress=False)
    own = dataclasses.replace(recipe, data=Data(catalog=str(tmp_path / "pairs"), size=8,
                                                validation_fraction=0.3))
    path = tmp_path / "own.safetensors"
    save_network(path, build_network(**recipe.network), name="own", network=recipe.network,
                 recipe=own.as_dict())
    shares = [open_calibration_images(own, 2, Calibration(**SMALL), held) for held in (False, True)]
    assert not set(shares[0].pairs.chosen) & set(shares[1].pairs.chosen)
    image, truth = next(shares[1].take([0]))
    assert image.shape == (16, 16) and truth.shape == (32, 32)
    # In the same unit: surface brightness.
    assert truth.mean() == pytest.approx(image.data.mean(), abs=3 * image.noise)
    found = read_card(calibrate(path, tmp_path / "out", device="cpu", progress=False, **SMALL))
    assert found.calibration["on"] == "pairs"


@pytest.mark.filterwarnings("ignore::lenssr.LensSRWarning")  # as above
def test_several_scales_through_the_telescope(recipe, tmp_path):
    sizes = dict(architecture="unrolled", channels=1, scale=[2, 3], iterations=1, blocks=1,
                 features=4, memory=2)
    own = dataclasses.replace(recipe, network=sizes)
    path = tmp_path / "own.safetensors"
    save_network(path, build_network(**sizes), name="own", network=sizes, recipe=own.as_dict())
    path = calibrate(path, tmp_path / "out", device="cpu", progress=False,
                     **{**SMALL, "images": 8, "held_out": 4})
    assert set(read_card(path).calibration["scales"]) == {"2", "3"}
    pair = simulate_pair(substructure="no_sub", seed=77, size=24, scale=3)
    result = superresolve(pair.lr, "unrolled", scale=3, weights=path, n_probes=1)
    assert result.header["SRCALIB"] == "predictive" and result.shape == (72, 72)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_psf_that_is_known_with_an_error_is_as_much_wider(factor):
    psf = gaussian_psf(4.0, 25)
    wide = widened_psf(psf, factor)
    assert wide.sum() == pytest.approx(1)
    assert psf_fwhm(wide) == pytest.approx(4.0 * factor, rel=0.01)


def test_noise_and_psf_are_known_as_well_as_is_said():
    how = Calibration(psf_wrong=0.5, psf_error=0.05, noise_error=0.1, p_masked=0.5)
    psf, values = gaussian_psf(4.0, 25), np.zeros((16, 16))
    found = [perturb_observation(values, np.ones((16, 16)), None, psf, how,
                                 np.random.default_rng(k))
             for k in range(200)]
    assert np.std(np.log([image.noise for image in found])) == pytest.approx(0.1, rel=0.2)
    widths = np.array([np.log(psf_fwhm(image.psf) / psf_fwhm(psf)) for image in found])
    wrong = np.array([np.abs(image.psf - psf).max() > 1e-6 for image in found])
    assert wrong.mean() == pytest.approx(0.5, abs=0.15)
    assert widths[wrong].std() == pytest.approx(0.05, rel=0.2)
    assert np.mean([image.mask.any() for image in found]) == pytest.approx(0.5, abs=0.15)


def test_truths_are_what_the_images_show(recipe):
    """Seen through the telescope they are the data but for their noise."""
    how = Calibration(**{**SMALL, "held_out": 12}, psf_wrong=0, noise_error=0, p_masked=0)
    for image, truth in open_calibration_images(recipe, 2, how, True).take(range(12)):
        misfit = DataResidual(image, 2)
        assert misfit.chi2(truth) == pytest.approx(1, abs=4 * np.sqrt(2 / misfit.count))


@pytest.mark.filterwarnings("ignore:the result.*has a reduced chi2")  # next to untrained
def test_errors_are_those_of_results_at_any_level_of_the_sky(weights, tmp_path):
    psf = gaussian_psf(4.0, 25)
    truth = 20 + 50 * np.exp(-((np.mgrid[:48, :48] - 23.5) ** 2).sum(0) / 20)
    data = ForwardModel(psf, 2, (24, 24)).forward(truth)
    data += np.random.default_rng(2).normal(size=data.shape)
    image = LensImage(data, np.ones((24, 24)), np.zeros((24, 24), bool), psf, 1.0)
    images = SimpleNamespace(n=1, take=lambda indices: [(image, truth)])
    method = make_method("rcan", 2, {"weights": weights, "n_probes": 1})
    arrays = restore_images(images, method, 2, tmp_path, False, device="cpu")
    result = superresolve(data, "rcan", psf=psf, uncertainty=1.0, unit="adu", weights=weights,
                          n_probes=1, flux="surface-brightness")
    assert sky_level(data, image.mask, 1.0) > 10
    np.testing.assert_allclose(arrays["mean"][0] - arrays["truth"][0], result.data - truth,
                               atol=1e-3)


@pytest.mark.filterwarnings("ignore::lenssr.LensSRWarning")  # untrained, of a small domain
def test_spread_of_samples(recipe, tmp_path):
    """Samples of a network that draws are as much further from its mean as the card says."""
    torch.manual_seed(2)
    base = find_weights("fsrcnn-x2")
    sizes = dict(architecture="diffusion", base="fsrcnn-x2", scale=2, features=16, blocks=2,
                 base_sha256=read_card(base).sha256, depth=1,
                 ranges={"correlation": [0.0, 0.7], "pixel_scale": [0.168, 0.168]})
    network = build_network(**sizes)
    weights = tmp_path / "drawer.safetensors"
    save_network(weights, network, name="drawer", network=sizes)
    path = calibrate(weights, tmp_path / "run", recipe=recipe, device="cpu", progress=False,
                     held_out=4, n_probes=1)
    found = read_card(path).calibration
    assert found["on"] == "hsc-hst" and "head" not in found and not error_file(path).exists()
    factors = np.array(found["scales"]["2"]["factors"])
    assert factors.shape == (5, 5) and (factors != 1).any()
    # Told of the factor in a sky without sources, the samples are as much further off.
    raw, told = (superresolve(np.random.default_rng(1).normal(size=(20, 20)), "diffusion",
                              weights=path, n_samples=6, unit="adu", uncertainty=1.0,
                              psf=None, calibrated=use) for use in (False, True))
    ratio = np.std(told.samples, axis=0) / np.std(raw.samples, axis=0)
    assert np.median(ratio) / told.header["SRINFLAT"] == pytest.approx(factors[0, 0], rel=0.15)
    assert "SRINFLAT" not in raw.header
    again = calibrate(path, tmp_path / "again", recipe=recipe, device="cpu", progress=False,
                      held_out=4, n_probes=1)
    assert read_card(again).calibration["scales"] == found["scales"]


def test_blank_skies_come_after_the_scenes(recipe):
    """They hold nothing but noise, each its own; and no image that is held out is one."""
    how = Calibration(**SMALL)
    images, held = (open_calibration_images(recipe, 2, how, part) for part in (False, True))
    assert (images.n, held.n) == (28, 6)
    found = list(images.take(range(18, 28)))
    assert all(truth.any() for _, truth in found[:2])
    assert not any(truth.any() for _, truth in found[2:])
    noise = [image.data[~image.mask] / image.noise for image, _ in found[2:]]
    assert np.std(np.concatenate(noise)) == pytest.approx(1, abs=0.15)
    assert len({float(image.data[0, 0]) for image, _ in found}) == 10


def test_recalibration_does_not_need_the_plain_weights(whole, tmp_path):
    """The old calibration has no say in the new one."""
    path = calibrate(whole, tmp_path, device="cpu", progress=False, **SMALL)
    assert contents(path) == contents(whole)

"""Posterior samples by diffusion, as a method."""

import sys

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from lenssr import LensSRWarning, superresolve
from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import RunOptions, check_memory, make_method
from lenssr.networks import build_network
from lenssr.weights import find_weights, read_card, save_network

BASE = "fsrcnn-x2"
SIZES = dict(architecture="diffusion", base=BASE, scale=2, features=16, blocks=2, depth=1,
             ranges={"correlation": [0.0, 0.7], "pixel_scale": [0.168, 0.168]})
PSF = gaussian_psf(4.0)
# Untrained as they are, these networks explain no data.
pytestmark = pytest.mark.filterwarnings("ignore:the result has a reduced chi2")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small untrained network."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    config = {**SIZES, "base_sha256": read_card(find_weights(BASE)).sha256}
    network = build_network(**config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    save_network(path, network, name="small", network=config)
    return path


def plane(shape=(37, 40), masked=0.01):
    rng = np.random.default_rng(3)
    data, mask = rng.normal(size=shape), rng.random(shape) < masked
    data[shape[0] // 2, shape[1] // 3] += 50
    return LensImage(np.where(mask, 0.0, data), np.ones(shape), mask, PSF, 1.0)


def drawn(weights, n, data=None, seed=0, tile=None, **options):
    options = {"n_probes": 1, "steps": 4, "precision": "float32", **options}
    method = make_method("diffusion", 2, {"weights": weights, **options})
    return method.restore(plane() if data is None else data,
                          RunOptions(2, tile=tile, n_samples=n, seed=seed))


def test_mean_and_spread(weights):
    result = drawn(weights, 12)
    assert result.samples.shape == (12, 74, 80)
    assert np.allclose(result.mean, result.samples.mean(0), atol=1e-4)
    spread = result.samples.std(0, ddof=1) * np.sqrt(13 / 12)
    assert np.allclose(result.predictive_std, spread, rtol=1e-3)
    assert (result.measurement_std <= result.predictive_std).all()


def test_samples_depend_on_seed_and_number(weights):
    few, many, second = drawn(weights, 3), drawn(weights, 5), drawn(weights, 3, seed=1)
    assert np.allclose(few.samples, many.samples[:3], atol=1e-4)
    assert np.array_equal(few.samples, drawn(weights, 3).samples)
    assert np.abs(few.samples - second.samples).mean() > 0.1
    assert np.abs(few.samples[0] - few.samples[1]).mean() > 0.1


def test_one_sample(weights):
    first = drawn(weights, 1)
    assert np.allclose(first.mean, first.samples[0], atol=1e-5)
    many = drawn(weights, 60, steps=12)
    # Another draw lies root two times the spread off.
    ratio = first.predictive_std / many.predictive_std / np.sqrt(2)
    assert 0.5 < np.median(ratio) < 2


@pytest.mark.parametrize("sampler", ["dpm", "ddpm"])
def test_tiles_change_nothing(weights, sampler):
    full, tiled = (drawn(weights, 2, sampler=sampler, tile=tile) for tile in (None, 10))
    assert np.abs(full.samples - tiled.samples).max() < 1e-3


@pytest.mark.slow
def test_no_seams(weights):
    """The spread is the same at the borders of tiles."""
    data = plane((512, 512), masked=0.0)
    flat = LensImage(np.zeros((512, 512)), data.sigma, data.mask, PSF, 1.0)
    samples = drawn(weights, 3, flat, tile=128, steps=3).samples
    difference = samples - samples.mean(0)
    steps = np.diff(difference[:, :, 64:-64], axis=2)**2
    at = np.zeros(steps.shape[2], bool)
    at[[k for k in range(256 - 64 - 1, steps.shape[2], 256)]] = True
    # Each column has 3,000 steps, of which next to no two are independent of fewer than ten.
    by_column = steps.mean(axis=(0, 1))
    # A cell's pixels differ in their spread: columns at the same place of a cell are compared.
    alike = np.arange(len(at)) % 4 == np.flatnonzero(at)[0] % 4
    assert at.sum() == 3
    remainder = by_column[alike & ~at]
    allowed = 5 * remainder.std()
    assert np.abs(by_column[at] - remainder.mean()).max() < allowed


def test_without_keeping(weights):
    kept, dropped = drawn(weights, 6), drawn(weights, 6, keep_samples=False)
    assert dropped.samples is None
    assert np.array_equal(kept.mean, dropped.mean)
    assert np.array_equal(kept.predictive_std, dropped.predictive_std)


def test_too_many_to_keep(weights):
    with pytest.raises(ValueError, match="`n_samples` must be at most .* got 500: the samples need "
                                         "0.0592 GB, and 0.01 GB are free"):
        check_memory(500, (74, 80), free=10 * 1000**2)
    if sys.platform == "linux":  # memory is known
        with pytest.raises(ValueError, match="`n_samples` must be at most"):
            drawn(weights, 10**10)
    assert drawn(weights, 40, plane((16, 16)), keep_samples=False, steps=2).samples is None


def test_superresolve(weights):
    image = CCDData(plane(masked=0.0).data, unit="nJy", uncertainty=StdDevUncertainty(
        np.ones((37, 40))), meta={"FILTER": "i", "ZLENS": 0.5})
    options = dict(method="diffusion", psf=PSF, weights=weights, n_probes=1, steps=3)
    result = superresolve(image, n_samples=4, seed=1, **options)
    assert result.samples.shape == (4, 74, 80)
    assert np.allclose(result.data, result.samples.mean(0), atol=1e-3)
    assert result.meta["SRNSAMP"] == 4 and result.meta["SRCALIB"] == "predictive"
    assert result.meta["SRBASE"] == read_card(find_weights(BASE)).sha256[:16]
    for key in ("SRSAMPLR", "SRSTEPS"):
        assert key in result.meta
    for bad in (0, -1):
        with pytest.raises(ValueError, match="`n_samples` must be a positive integer, got"):
            superresolve(image, n_samples=bad, **options)


def test_metadata(weights):
    image = plane(masked=0.0).data * u.nJy
    options = dict(method="diffusion", psf=PSF, uncertainty=1.0, weights=weights, n_probes=1,
                   steps=3, n_samples=2)
    plain = superresolve(image, **options)
    caught = superresolve(image, pixel_scale=0.168 * u.arcsec, **options)
    assert np.abs(caught.data - plain.data).max() > 1e-4
    with pytest.warns(LensSRWarning, match="`pixel_scale` is 0.05, outside the range"):
        outside = superresolve(image, pixel_scale=0.05, **options)
    assert np.array_equal(outside.data, plain.data)
    with pytest.warns(LensSRWarning, match="`z_lens` has no effect"):
        superresolve(image, z_lens=0.5, **options)


@pytest.mark.parametrize("options,message", [
    ({"sampler": "euler"}, "`sampler` must be one of dpm, ddim, ddpm, got 'euler'"),
    ({"precision": "half"}, "`precision` must be one of auto"),
    ({"schedule": [1.0, 3.0]}, "`schedule` must be .* levels that decrease, got"),
    ({"schedule": "fast"}, "`schedule` must be .* got 'fast'"),
    ({"steps": 0}, "`steps` must be a positive integer, got 0"),
    ({"steps": 1}, "`steps` must be at least 2, got 1"),
    ({"z_lens": -1}, "`z_lens` must be a positive number"),
    ({"z_lens": 2, "z_source": 1}, "`z_source` must be larger than `z_lens` 2, got 1"),
    ({"band": "CLEAR"}, "`band` must be a wavelength or the name of a filter"),
    ({"pixel_scale": 3 * u.s}, "`pixel_scale` must be an angle, got 3.0 s"),
    ({"correlation": 2}, "`correlation` must be from 0 to 1, got 2"),
])
def test_bad_options(weights, options, message):
    with pytest.raises(ValueError, match=message):
        make_method("diffusion", 2, {"weights": weights, **options})


def test_base_weights_must_match(weights, tmp_path):
    network = build_network(**{**SIZES, "base_sha256": "0" * 64})
    path = tmp_path / "other.safetensors"
    save_network(path, network, name="other", network={**SIZES, "base_sha256": "0" * 64})
    with pytest.raises(ValueError, match="`weights` must have the base weights 'fsrcnn-x2'"):
        drawn(path, 1)

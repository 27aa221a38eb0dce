"""Physics networks as methods."""

import numpy as np
import pytest
import torch
from astropy import units as u

from lenssr import superresolve
from lenssr.image import LensImage, gaussian_psf
from lenssr.methods import RunOptions, make_method, truncate_psf
from lenssr.networks import build_network
from lenssr.weights import save_network

SIZES = dict(architecture="unrolled", channels=1, scale=[2, 3, 4], iterations=2, blocks=1,
             features=8, memory=4)
PSF = gaussian_psf(3.0)
# Untrained as they are, these networks explain no data.
pytestmark = pytest.mark.filterwarnings("ignore:the result has a reduced chi2")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small untrained network."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network = build_network(**SIZES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    save_network(path, network, name="small", network=SIZES)
    return path


def plane(shape=(90, 80), noise=0.5):
    rng = np.random.default_rng(3)
    sigma = noise * rng.uniform(1, 2, shape)
    data, mask = sigma * rng.normal(size=shape), rng.random(shape) < 0.01
    data[shape[0] // 2, shape[1] // 3] += 300 * noise
    return LensImage(np.where(mask, 0.0, data), sigma, mask, PSF, noise)


@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_change_nothing(weights, scale):
    image = plane()
    method = make_method("unrolled", scale, {"weights": weights, "n_probes": 1,
                                             "precision": "float64"})
    full, tiled = (method.restore(image, RunOptions(scale, tile=tile)) for tile in (None, 32))
    assert full.mean.shape == (90 * scale, 80 * scale)
    assert np.abs(full.mean - tiled.mean).max() < 1e-9 * image.noise
    assert np.abs(full.measurement_std - tiled.measurement_std).max() < 1e-9 * image.noise


def test_noise_and_psf_count(weights):
    data = plane().data * u.adu

    def restored(psf=PSF, **more):
        more = {"uncertainty": 0.5, **more}
        return superresolve(data, "unrolled", psf=psf, weights=weights, n_probes=1, **more)

    sigma = np.full(data.shape, 0.5)
    sigma[:, 40:] = 2.0
    first = restored(correlation=0.0)
    assert first.header["SRNCORR"] == 0
    for second in (restored(gaussian_psf(3.6), correlation=0.0), restored(correlation=0.5),
                   restored(uncertainty=sigma, correlation=0.0)):
        assert np.abs(second.data - first.data).max() > 1e-3
    # White noise is found to be white.
    np.testing.assert_array_equal(restored().data, first.data)


def test_psf_is_required(weights):
    data = plane().data * u.adu
    with pytest.raises(ValueError, match="`psf` must be given for method 'unrolled', got None"):
        superresolve(data, "unrolled", uncertainty=0.5, weights=weights)
    with pytest.raises(ValueError, match="`correlation` must be from 0 to 1, got 2"):
        superresolve(data, "unrolled", psf=PSF, weights=weights, correlation=2)


def test_faint_rims_of_psfs_are_cropped():
    assert truncate_psf(gaussian_psf(2.0, 41)).shape == (9, 9)
    assert truncate_psf(gaussian_psf(6.0, 41)).shape == (17, 17)
    wide = gaussian_psf(20.0, 61)
    assert truncate_psf(wide).shape == (31, 31)
    assert truncate_psf(gaussian_psf(2.0, 7)).shape == (7, 7)

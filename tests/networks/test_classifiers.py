"""Classifiers: published sizes, image sizes, invariance, and the wavelet transform."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from lenssr.networks import B3_SPLINE, architectures, build_network, starlet

CLASSIFIERS = [name for name, item in architectures().items() if item.inputs == "classifier"]

PUBLISHED = dict(channels=3, classes=1000, softening=[1.0], scales=0)  # colours as they are
SMALL = {"resnet": dict(width=4), "alexnet": dict(width=4, hidden=8, pooled=2),
         "vgg": dict(width=4, hidden=8, pooled=1)}


@pytest.mark.parametrize(("architecture", "config", "parameters"), [
    # Numbers of parameters in torchvision.
    ("resnet", dict(stem="published"), 11_689_512),
    ("resnet", dict(stem="published", blocks=[3, 4, 6, 3]), 21_797_672),
    ("alexnet", dict(stem="published"), 61_100_840),
    ("vgg", dict(depth=11, norm=False), 132_863_336),
    ("vgg", dict(depth=16, norm=False), 138_357_544),
    ("vgg", dict(depth=19), 143_678_248),
])
def test_published_number_of_parameters(architecture, config, parameters):
    with torch.device("meta"):
        network = build_network(architecture, **PUBLISHED, **config)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("side", [32, 64, 150])
@pytest.mark.parametrize("architecture", sorted(CLASSIFIERS))
def test_images_of_all_sizes(architecture, side):
    torch.manual_seed(0)
    network = build_network(architecture, classes=4, **SMALL[architecture])
    image = torch.rand(2, 1, side, side)
    maps = network.features(image)
    assert network(image).shape == (2, 4)
    assert torch.equal(network.eval()(image), network.classify(network.features(image)[-1]))
    sides = [feature_map.shape[-1] for feature_map in maps]
    assert sides == sorted(sides, reverse=True) and sides[0] >= side // 4
    network(image).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("architecture", sorted(CLASSIFIERS))
def test_invariance_under_flux_units(architecture):
    torch.manual_seed(0)
    network = build_network(architecture, **SMALL[architecture]).eval()
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    network.double()
    torch.testing.assert_close(network(image), network(1e-6 * image), rtol=1e-9, atol=1e-9)


def test_starlet_agrees_with_scipy():
    image = np.random.default_rng(0).normal(size=(24, 20))
    planes = starlet(torch.from_numpy(image)[None, None], 3)[0].numpy()
    np.testing.assert_allclose(planes.sum(axis=0), image, atol=1e-12)
    smooth = image
    for k, plane in enumerate(planes[:-1]):
        kernel = np.zeros(4 * 2**k + 1)
        kernel[::2**k] = B3_SPLINE.numpy()
        convolved = smooth
        for axis in (0, 1):
            convolved = ndimage.convolve1d(convolved, kernel, axis, mode="nearest")
        np.testing.assert_allclose(plane, smooth - convolved, atol=1e-6)
        smooth = convolved


@pytest.mark.parametrize(("architecture", "config", "name"), [
    ("resnet", dict(stem="coarse"), "stem"), ("alexnet", dict(stem=3), "stem"),
    ("vgg", dict(depth=12), "depth"), ("resnet", dict(depth=18), "architecture"),
    ("inception", {}, "architecture")])
def test_invalid_parameters(architecture, config, name):
    with pytest.raises(ValueError, match=name):
        build_network(architecture, **config)

"""RCAN: published size, local means, conditioning, shipped weights."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from lenssr.image import gaussian_psf
from lenssr.networks import LocalMean, asinh_scale, build_network, psf_features, sinh_scale
from lenssr.weights import load_network


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_published_size():
    # Ten groups of twenty blocks of 64 features, three colours, twice the size: the published
    # table gives 15.4 million without the constant layers that shift the mean colour.
    network = build_network("rcan", channels=3, scale=2, groups=10, blocks=20, features=64,
                            reduction=16)
    conv = 9 * 64 * 64 + 64
    attention = (64 * 4 + 4) + (4 * 64 + 64)
    body = 10 * (20 * (2 * conv + attention) + conv) + conv
    head, tail = 9 * 3 * 64 + 64, (9 * 64 * 256 + 256) + (9 * 64 * 3 + 3)
    assert count(network) == head + body + tail
    assert count(network) == pytest.approx(15.4e6, rel=0.01)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shape(scale):
    network = build_network("rcan", scale=scale, groups=1, blocks=1, features=8, reduction=4).eval()
    assert network(torch.zeros(2, 1, 9, 12)).shape == (2, 1, 9 * scale, 12 * scale)


def test_unsupported_scale():
    with pytest.raises(ValueError, match="`scale` must be 2, 3 or 4, got 5"):
        build_network("rcan", scale=5)


@pytest.mark.parametrize(("architecture", "config", "message"), [
    ("srcnn2", {}, "`architecture` must be one of .*rcan"),
    ("rcan", {"colour": 3}, "parameters of architecture 'rcan'.*colour"),
])
def test_build_errors(architecture, config, message):
    with pytest.raises(ValueError, match=message):
        build_network(architecture, **config)


def test_local_mean_is_global_on_a_patch():
    x = torch.rand(1, 3, 8, 8)
    mean = LocalMean(8).eval()(x)
    torch.testing.assert_close(mean, x.mean(dim=(2, 3), keepdim=True))


def test_local_mean_is_a_moving_average():
    x = torch.rand(1, 1, 40, 33, dtype=torch.float64)
    mean = LocalMean(8).eval()(x)[0, 0].numpy()
    # The even window of scipy is shifted by one pixel.
    oracle = ndimage.uniform_filter(x[0, 0].numpy(), 8, origin=-1)
    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(mean[inside], oracle[inside], rtol=1e-12)


def test_halo():
    torch.manual_seed(0)
    network = build_network("rcan", groups=2, blocks=2, features=8, reduction=4,
                            window=4).eval().double()
    x = torch.rand(1, 1, 2 * network.halo + 9, 64, dtype=torch.float64)
    changed = x.clone()
    changed[..., 0, :] += 100.0
    with torch.inference_mode():
        difference = (network(changed) - network(x)).abs().amax(dim=(0, 1, 3))
    assert difference[: 2].max() > 1e-3
    assert difference[2 * (network.halo + 1):].max() == 0


def test_asinh_range_inverts():
    z = torch.linspace(-1e3, 1e5, 1001, dtype=torch.float64)
    torch.testing.assert_close(sinh_scale(asinh_scale(z)), z)


def gaussian(sigma_x, sigma_y, angle):
    y, x = torch.meshgrid(*[torch.arange(-30.0, 31)] * 2, indexing="ij")
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    psf = torch.exp(-(u**2 / sigma_x**2 + v**2 / sigma_y**2) / 2)
    return (psf / psf.sum())[None]


def test_psf_features_of_a_gaussian():
    # Closed forms of a Gaussian: area 4 pi s1 s2, peak times area 2, and the ellipticity of
    # the square, (s1^2 - s2^2) / (s1^2 + s2^2), along the angle.
    s1, s2, angle = 2.2, 2.0, 0.4
    _, area, peak, plus, cross = psf_features(gaussian(s1, s2, angle))[0].tolist()
    e = (s1**2 - s2**2) / (s1**2 + s2**2)
    assert area * 0.33 + 3.94 == pytest.approx(np.log(4 * np.pi * s1 * s2), abs=1e-4)
    assert peak * 0.06 + 0.80 == pytest.approx(np.log(2), abs=1e-4)
    assert plus * 0.03 == pytest.approx(e * np.cos(2 * angle), abs=1e-4)
    assert cross * 0.03 == pytest.approx(e * np.sin(2 * angle), abs=1e-4)


def test_conditions_reach_the_output():
    torch.manual_seed(0)
    network = build_network("rcan", groups=1, blocks=1, features=8, reduction=4,
                            conditions=5).eval()
    image = torch.rand(1, 1, 8, 8)
    narrow, wide = (psf_features(torch.from_numpy(gaussian_psf(f)).float()[None])
                    for f in (3.0, 5.0))
    assert (network(image, narrow) - network(image, wide)).abs().max() > 1e-4


def test_shipped_weights_are_reproducible():
    # Recorded values; four digits agree between processors.
    network, _ = load_network("rcan-x2")
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(36.0), indexing="ij")
    image = torch.asinh(20 * torch.exp(-((x - 15)**2 + (y - 22)**2) / 18))[None, None]
    with torch.inference_mode():
        output = network(image, torch.tensor([[1, 0.5, -0.3, 0.2, -0.7]]))[0, 0]
    values = [output[44, 31], output[40, 25], output[50, 40], output.mean()]
    np.testing.assert_allclose(values, [3.6839, 3.4528, 0.8031, 0.1834], atol=3e-4)

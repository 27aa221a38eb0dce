"""All architectures: published config, shapes, centred pixels, exact halos, conditions."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from lenssr.networks import architectures, build_network

# Small networks with enough layers that depth matters.
SMALL = {
    "edsr": dict(blocks=2, features=8),
    "fast": dict(blocks=2, features=8),
    "fsrcnn": dict(d=8, s=4, m=2),
    "fsrcnn_equivariant": dict(d=3, s=2, m=1),
    "fsrcnn_hybrid": dict(d=3, s=2, m=1),
    "rcan": dict(groups=1, blocks=2, features=8, reduction=4, window=4),
    "rdn": dict(blocks=2, layers=2, growth=4, features=8),
    "srcnn": dict(features=(8, 4)),
    "srgan": dict(blocks=2, features=8, norm=False),
    "srresnet": dict(blocks=2, features=8),
}
# Architectures with other inputs are tested in test_unrolled, test_diffusion and test_arcs.
IMAGE_NETWORKS = [name for name, item in architectures().items() if item.inputs == "image"]
SKIP = [name for name in SMALL if "srcnn" in name]

all_networks = pytest.mark.parametrize("name", IMAGE_NETWORKS)
scales = pytest.mark.parametrize("scale", [2, 3, 4])


def small(name, seed=1, **config):
    """Small network in double precision whose weights and biases all matter."""
    torch.manual_seed(seed)
    network = build_network(name, **SMALL[name], **config).double().eval()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.05, 0.3)
        elif parameter.std() < 0.01:
            nn.init.normal_(parameter, std=0.05)
    return network


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_every_architecture_is_tested():
    assert sorted(SMALL) == IMAGE_NETWORKS


def test_srcnn_as_published():
    # "8,032 parameters" (Dong et al. 2016, the 9-1-5 network): weights without biases.
    assert count(build_network("srcnn")) == 8032 + (64 + 32 + 1)


def test_fsrcnn_as_published():
    # "12464 parameters" of FSRCNN(56, 12, 4): weights without biases and slopes of the
    # rectifiers. At even scales the last kernel is 10x10, not 9x9.
    others = 2 * (56 + 12 + 4 * 12 + 56) + 1
    assert count(build_network("fsrcnn", scale=3)) == 12464 + others
    assert count(build_network("fsrcnn", scale=2)) == 12464 + others + 56 * (100 - 81)


# Published in millions, for three colours; the tolerance is the last digit that is printed. It
# covers the constant layers that shift the mean colour, which some counts include.
@pytest.mark.parametrize(("name", "config", "millions", "digit"), [
    ("edsr", dict(scale=2), 1.37, 0.01),
    ("edsr", dict(scale=4), 1.52, 0.01),
    ("edsr", dict(scale=2, blocks=32, features=256, res_scale=0.1), 40.7, 0.1),
    ("edsr", dict(scale=4, blocks=32, features=256, res_scale=0.1), 43, 1),
    ("rdn", dict(scale=2), 22.1, 0.1),
    ("rcan", dict(scale=2), 15.4, 0.1),
    ("rcan", dict(scale=4), 15.59, 0.01),
    ("srresnet", dict(scale=4), 1.5, 0.1),
])
def test_millions_as_published(name, config, millions, digit):
    with torch.device("meta"):
        network = build_network(name, channels=3, **config)
    assert count(network) / 1e6 == pytest.approx(millions, abs=digit)


@scales
@all_networks
def test_shape(name, scale):
    network = small(name, scale=scale, channels=5, conditions=2)
    x = torch.rand(2, 5, 9, 12, dtype=torch.float64)
    assert network(x, torch.rand(2, 2)).shape == (2, 5, 9 * scale, 12 * scale)


@all_networks
def test_unsupported_scale(name):
    with pytest.raises(ValueError, match="`scale` must be 2, 3 or 4, got 5"):
        build_network(name, scale=5, **SMALL[name])


@scales
@all_networks
def test_halo_is_exact(name, scale):
    network = small(name, scale=scale)
    middle = network.halo + 2
    x = torch.rand(1, 1, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64, requires_grad=True)
    block = slice(middle * scale, (middle + 1) * scale)
    network(x)[..., block, block].square().sum().backward()
    counts = x.grad[0, 0].abs().amax(dim=0).nonzero().squeeze()
    assert (counts - middle).abs().max() == network.halo


def symmetrise(network):
    """Make all kernels, and the sub-pixels of their outputs, symmetric under reflection."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data += module.weight.data.flip(-1).clone()
    shuffled = [(conv, shuffle.upscale_factor) for layers in network.modules()
                if isinstance(layers, nn.Sequential) for conv, shuffle in pairwise(layers)
                if isinstance(shuffle, nn.PixelShuffle)]
    if hasattr(network, "collapse"):
        shuffled.append((network.tail, network.scale))
    for conv, step in shuffled:
        for values in (conv.weight.data, conv.bias.data):
            fine = values.unflatten(0, (-1, step, step))
            fine += fine.flip(2).clone()
    return network


@scales
@pytest.mark.parametrize(
    "name", sorted(set(IMAGE_NETWORKS) - {"fsrcnn_equivariant", "fsrcnn_hybrid"}))
def test_output_is_centred_on_the_input(name, scale):
    # With symmetric kernels, a network with output pixels at x' = (x + 0.5) s - 0.5 commutes with
    # reflections; a shift by half a pixel would break the symmetry.
    config = dict(collapsed=True) if name == "fast" else {}
    network = small(name, scale=scale, **config)
    # An even window is not symmetric, but the mean of the image is.
    for module in network.modules():
        if hasattr(module, "window"):
            module.window = 64
    x = torch.rand(1, 1, 10, 11, dtype=torch.float64)
    assert not torch.allclose(network(x).flip(-1), network(x.flip(-1)), rtol=1e-3)
    symmetrise(network)
    torch.testing.assert_close(network(x).flip(-1), network(x.flip(-1)))


@pytest.mark.parametrize("name", SKIP)
def test_skip_starts_from_the_interpolated_image(name):
    network = build_network(name, scale=2, skip=True, **SMALL[name])
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    # The mean of a plane over the sub-pixels of a pixel is its value at the pixel.
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    plane = 2 * y + x
    fine = network(plane[None, None])
    mean, inside = functional.avg_pool2d(fine, 2)[0, 0], (slice(2, -2), slice(2, -2))
    torch.testing.assert_close(mean[inside], plane[inside])


@all_networks
def test_conditions_reach_the_output(name):
    network = small(name, conditions=5)
    x, conditions = torch.rand(1, 1, 12, 12, dtype=torch.float64), torch.zeros(1, 5)
    before = network(x, conditions)
    for i in range(5):
        changed = conditions.clone()
        changed[0, i] = 1
        assert (network(x, changed) - before).abs().max() > 1e-6


@all_networks
def test_half_precision_and_layout(name):
    network = small(name, conditions=5).float().to(memory_format=torch.channels_last)
    network = copy.deepcopy(network)
    x = torch.rand(2, 1, 12, 12).contiguous(memory_format=torch.channels_last)
    conditions = torch.rand(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, conditions)
    half.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    # bfloat16 has eight bits, and the errors of the layers add up.
    full = network(x, conditions)
    assert (half - full).abs().max() < 0.05 * full.abs().max()


def test_srresnet_without_normalisation_keeps_brightness():
    torch.manual_seed(1)
    x = torch.rand(2, 1, 12, 12)
    x = torch.cat([x, 3 * x])
    for norm in (True, False):
        network = build_network("srresnet", norm=norm, **SMALL["srresnet"])
        alone, together = network(x[:2]), network(x)[:2]
        assert torch.allclose(alone, together, atol=1e-5) == (not norm)


def test_kernels_of_srcnn_must_be_odd():
    with pytest.raises(ValueError, match=r"`kernels` must be odd, got \(9, 2, 5\)"):
        build_network("srcnn", kernels=(9, 2, 5))

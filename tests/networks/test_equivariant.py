"""Equivariance of networks under the eight symmetries of the square."""

import pytest
import torch
from torch.nn import functional

from lenssr.networks import (
    FLIP_SIGNS,
    N_PSF_FEATURES,
    N_SYMMETRIES,
    ROTATION_SIGNS,
    GroupConv,
    apply_symmetry,
    build_network,
    psf_features,
)

CONFIG = dict(d=8, s=4, m=2)


def network(name="fsrcnn_equivariant", **config):
    """Network with random weights and biases of order 0.1."""
    torch.manual_seed(0)
    net = build_network(name, conditions=N_PSF_FEATURES, **CONFIG, **config).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def transformed(conditions, k):
    """PSF features of the transformed image."""
    signs = torch.tensor([[t ** (k % 4) * f ** (k // 4)
                           for t, f in zip(ROTATION_SIGNS, FLIP_SIGNS)]])
    return conditions * signs


@pytest.mark.parametrize("k", range(N_SYMMETRIES))
def test_signs_of_the_conditions(k):
    psf = torch.rand(3, 11, 11) ** 4
    psf /= psf.sum(dim=(-2, -1), keepdim=True)
    features = psf_features(apply_symmetry(psf, k))
    torch.testing.assert_close(features, transformed(psf_features(psf), k))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("k", range(1, N_SYMMETRIES))
def test_output_is_equivariant(k, scale, skip):
    net = network(scale=scale, channels=2, skip=skip)
    x, conditions = torch.randn(1, 2, 11, 14), torch.randn(1, N_PSF_FEATURES)
    with torch.inference_mode():
        expected = apply_symmetry(net(x, conditions), k)
        output = net(apply_symmetry(x, k), transformed(conditions, k))
    assert (output - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("k", [1, 4])
def test_ellipticity_conditions_matter(k):
    # Without the conditions, the network would commute with symmetries of the image alone.
    net = network()
    x, conditions = torch.randn(1, 1, 11, 14), torch.randn(1, N_PSF_FEATURES)
    with torch.inference_mode():
        expected = apply_symmetry(net(x, conditions), k)
        output = net(apply_symmetry(x, k), conditions)
    assert (output - expected).abs().max() > 1e-2 * expected.abs().max()


@pytest.mark.parametrize("k", range(1, N_SYMMETRIES))
def test_group_convolution_permutes_channels(k):
    # Group law: symmetry k of the image moves the response of channel h to channel k h.
    torch.manual_seed(0)
    conv = GroupConv(2, 3, 3)
    corners = torch.arange(9).reshape(3, 3)
    moved = [next(g for g in range(N_SYMMETRIES)
                  if torch.equal(apply_symmetry(corners, g),
                                 apply_symmetry(apply_symmetry(corners, h), k)))
             for h in range(N_SYMMETRIES)]

    def move(field):
        field = apply_symmetry(field.unflatten(1, (-1, N_SYMMETRIES)), k)
        return torch.empty_like(field).index_copy(2, torch.tensor(moved), field).flatten(1, 2)

    x = torch.randn(1, 2 * N_SYMMETRIES, 7, 7)
    torch.testing.assert_close(conv(move(x)), move(conv(x)))


def test_hybrid_with_the_kernels_of_the_equivariant():
    equivariant, hybrid = network(scale=2), network("fsrcnn_hybrid", scale=2)
    hybrid.body.load_state_dict(equivariant.body.state_dict())
    hybrid.tail.weight.data = equivariant.tail.kernel()
    hybrid.tail.bias.data = equivariant.tail.bias.data
    x, conditions = torch.randn(1, 1, 9, 9), torch.randn(1, N_PSF_FEATURES)
    torch.testing.assert_close(hybrid(x, conditions), equivariant(x, conditions))


def test_hybrid_does_not_commute():
    net = network("fsrcnn_hybrid")
    x, conditions = torch.randn(1, 1, 9, 9), torch.zeros(1, N_PSF_FEATURES)
    expected, output = apply_symmetry(net(x, conditions), 1), net(apply_symmetry(x, 1), conditions)
    assert (output - expected).abs().max() > 1e-3


def test_symmetric_kernel_is_an_ordinary_convolution():
    conv = GroupConv(1, 1, 3)
    conv.weight.data[:] = torch.tensor([[0.0, 1, 0], [1, 2, 1], [0, 1, 0]])
    x = torch.randn(1, N_SYMMETRIES, 6, 6)
    plain = functional.conv2d(x.sum(dim=1, keepdim=True), conv.weight[:, :1], padding=1)
    torch.testing.assert_close(conv(x), plain.expand(-1, N_SYMMETRIES, -1, -1))


def test_too_many_conditions():
    with pytest.raises(ValueError, match="`conditions` must be at most 5.*got 6"):
        build_network("fsrcnn_equivariant", conditions=6)

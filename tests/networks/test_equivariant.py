"""Networks over the eight symmetries of the square commute with them."""

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

SIZES = dict(d=8, s=4, m=2)


def network(name="fsrcnn_equivariant", **sizes):
    """A network whose biases are not zero and whose output is not small."""
    torch.manual_seed(0)
    made = build_network(name, conditions=N_PSF_FEATURES, **SIZES, **sizes).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def turned(conditions, k):
    """Conditions of the turned image, from the PSF's own definition: see the test below."""
    signs = torch.tensor([[t ** (k % 4) * f ** (k // 4)
                           for t, f in zip(ROTATION_SIGNS, FLIP_SIGNS)]])
    return conditions * signs


@pytest.mark.parametrize("k", range(N_SYMMETRIES))
def test_signs_of_the_conditions(k):
    psf = torch.rand(3, 11, 11) ** 4
    psf /= psf.sum(dim=(-2, -1), keepdim=True)
    torch.testing.assert_close(psf_features(apply_symmetry(psf, k)), turned(psf_features(psf), k))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("k", range(1, N_SYMMETRIES))
def test_a_turned_image_gives_the_turned_result(k, scale, skip):
    net = network(scale=scale, channels=2, skip=skip)
    x, told = torch.randn(1, 2, 11, 14), torch.randn(1, N_PSF_FEATURES)
    with torch.inference_mode():
        straight, other = apply_symmetry(net(x, told), k), net(apply_symmetry(x, k),
                                                               turned(told, k))
    assert (other - straight).abs().max() < 1e-5 * straight.abs().max()


@pytest.mark.parametrize("k", [1, 4])
def test_the_told_ellipticity_matters(k):
    # Were it dropped, the network would commute with symmetries of the image alone.
    net = network()
    x, told = torch.randn(1, 1, 11, 14), torch.randn(1, N_PSF_FEATURES)
    with torch.inference_mode():
        straight, other = apply_symmetry(net(x, told), k), net(apply_symmetry(x, k), told)
    assert (other - straight).abs().max() > 1e-2 * straight.abs().max()


@pytest.mark.parametrize("k", range(1, N_SYMMETRIES))
def test_a_convolution_moves_channels_with_the_turn(k):
    # By the group's law: a symmetry of the image puts what channel h saw into channel k h.
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
    x, told = torch.randn(1, 1, 9, 9), torch.randn(1, N_PSF_FEATURES)
    torch.testing.assert_close(hybrid(x, told), equivariant(x, told))


def test_hybrid_need_not_commute():
    net = network("fsrcnn_hybrid")
    x, told = torch.randn(1, 1, 9, 9), torch.zeros(1, N_PSF_FEATURES)
    assert (apply_symmetry(net(x, told), 1) - net(apply_symmetry(x, 1), told)).abs().max() > 1e-3


def test_a_kernel_without_direction_is_an_ordinary_one():
    conv = GroupConv(1, 1, 3)
    conv.weight.data[:] = torch.tensor([[0.0, 1, 0], [1, 2, 1], [0, 1, 0]])
    x = torch.randn(1, N_SYMMETRIES, 6, 6)
    plain = functional.conv2d(x.sum(dim=1, keepdim=True), conv.weight[:, :1], padding=1)
    torch.testing.assert_close(conv(x), plain.expand(-1, N_SYMMETRIES, -1, -1))


def test_more_conditions_than_are_known():
    with pytest.raises(ValueError, match="`conditions` must be at most 5.*got 6"):
        build_network("fsrcnn_equivariant", conditions=6)

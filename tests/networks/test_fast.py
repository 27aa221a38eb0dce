"""The fast network: small when collapsed, and the same."""

import pytest
import torch

from lenssr.networks import build_network


def trained(**sizes):
    """A network whose weights have all moved."""
    torch.manual_seed(0)
    network = build_network("fast", conditions=5, **sizes).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_size_collapsed(scale):
    network = build_network("fast", scale=scale, conditions=5, collapsed=True)
    assert sum(p.numel() for p in network.parameters()) < 200_000


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_collapsed_gives_the_same(scale):
    network = trained(scale=scale, channels=2, blocks=4, features=16)
    plain = network.collapse()
    x, told = 5 * torch.rand(1, 2, 16, 16), torch.randn(1, 5)
    with torch.inference_mode():
        wide, narrow = network(x, told), plain(x, told)
    assert (wide - narrow).abs().max() < 1e-5 * wide.abs().max()
    assert not plain.training


def test_collapsed_is_plain_and_loads():
    plain = trained(blocks=2, features=8).collapse()
    kinds = {type(m) for m in plain.modules() if not list(m.children())}
    assert kinds == {torch.nn.Conv2d, torch.nn.PReLU}
    other = build_network("fast", blocks=2, features=8, conditions=5, collapsed=True).eval()
    other.load_state_dict(plain.state_dict())
    x, told = torch.rand(1, 1, 9, 9), torch.randn(1, 5)
    torch.testing.assert_close(other(x, told), plain(x, told))


def test_collapse_of_the_collapsed_and_of_a_copy():
    network = trained(blocks=2, features=8)
    plain = network.collapse()
    again = plain.collapse()
    again.head.weight.data += 1  # a copy: the first keeps its own
    torch.testing.assert_close(plain.head.weight, network.head.kernel())


def test_wide_layers_are_trained():
    network = trained(blocks=2, features=8)
    network(torch.rand(1, 1, 9, 9), torch.randn(1, 5)).square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in network.parameters())
